"""What pretraining without labels is worth on real faces: scratch, plain DINO and LAFS with few labels.

    python -m benchmarks.real_faces pack FOLDER --unlabeled DIR --labeled DIR --people DIR --lfw DIR PAIRS
    python -m benchmarks.real_faces run FOLDER [--processes 8] [--minutes 30]
    python -m benchmarks.real_faces table FOLDER

Folders hold aligned 112 px faces, those of people one sub-folder per person. `run` resumes where it was
stopped: every result is a file of its own.
"""
