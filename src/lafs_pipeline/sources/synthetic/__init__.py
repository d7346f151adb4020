"""Synthetic faces: enough of a face recognition problem to run the whole pipeline without any data set."""
