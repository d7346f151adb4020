"""Every command of the documents: which are typed by a test, and which run elsewhere."""

from lafs_pipeline.runtime.launch_settings import ADDRESS

ACTIVATE = "source .venv/bin/activate"
LEAVES = {
    "kedro run": "08_reporting/report.html",
    "kedro run --params adapt.shots=4": "05_model_input/adapt_faces.parquet",
    "kedro run --pipeline=cataloging": "03_primary/faces.parquet",
    "kedro run --pipeline=landmarks": "06_models/landmark_network.safetensors",
    "kedro run --pipeline=pretrain": "06_models/backbones/lafs.safetensors",
    "kedro run --pipeline=adapt": "06_models/face_models/lafs.safetensors",
    "kedro run --pipeline=evaluate": "08_reporting/benchmarks.csv",
    "kedro run --pipeline=report": "08_reporting/report.html",
    "kedro run --pipeline=study": "08_reporting/study_table.csv",
    "kedro run --pipeline=export": "08_reporting/models/lafs/config.json",
    "kedro run --pipelines=adapt,evaluate": "08_reporting/benchmarks.csv",
    "kedro run --namespaces=pretrain": "06_models/backbones/lafs.safetensors",
    "kedro run --tags=adapt": "06_models/face_models/scratch.safetensors",
    "kedro run --from-nodes=report.report": "08_reporting/report.html",
    "kedro run --to-outputs=landmarks": "04_feature/landmarks/keys.parquet",
}
"""Commands that run after the demo, and what they write anew in the data folder."""
TWO_PROCESSES = "kedro run --pipelines=pretrain --params launch.processes=2"
TWO_HOSTS = [
    "kedro run --pipelines=pretrain --params "
    f"launch.nodes=2,launch.node_rank={number},launch.rendezvous=10.0.0.1:29500"
    for number in (0, 1)
]
OWN_FACES = [
    "kedro run --env folder --params faces_folder=FACES,benchmark_folder=LFW,benchmark_pairs=LFW/pairs.txt",
    "kedro run --env folder",
]
OWN_STUDY = "kedro run --env folder --pipelines=study --params study.steps=200"
OWN_FILE, MISSING = "kedro run --config study.yml", "kedro run --only-missing-outputs"
PACKAGE = "kedro package"
ELSEWHERE = [
    "lafs-pipeline --conf-source conf-lafs_pipeline.tar.gz --env smoke",
    "lafs-pipeline --conf-source conf --namespaces=pretrain",
]
SERVERS = {"kedro viz run": "Kedro-Viz", "kedro mlflow ui": "MLflow"}
EMBED, COMPARE = "lafs embed FOLDER --model M", "lafs compare A B --model M"
RUN_HERE = {
    *("make demo", "make docs", ACTIVATE, EMBED, COMPARE, TWO_PROCESSES, OWN_FILE, MISSING, PACKAGE),
    *(*LEAVES, *TWO_HOSTS, *OWN_FACES, OWN_STUDY, *SERVERS, *ELSEWHERE, "kedro registry list"),
}
REAL_FACES = "tests/benchmarks/test_real_faces.py"
BENCHMARKS, LAUNCH = "tests/benchmarks/test_pretrain_step.py", "tests/runtime/test_launch.py"
UNLABELED = "tests/end_to_end/test_unlabeled_faces.py"
REPLAY = "tests/tracking/test_replay.py"
BENCHMARK = "tests/commands/test_benchmark.py"
CHECKPOINTS = "tests/commands/test_checkpoints.py"
RUN_ELSEWHERE = {
    "make check": "Makefile: check",
    "make test": "Makefile: test",
    "make test-slow": "Makefile: test-slow",
    "make lowest": "Makefile: lowest",
    "make format": "Makefile: format",
    "kedro run --env smoke": "tests/end_to_end/conftest.py: smoke",
    "make coverage": "Makefile: coverage",
    "make clean": "tests/end_to_end/test_makefile.py: test_clean_leaves_what_is_a_users",
    "python -m docs.figure": "tests/end_to_end/test_site.py: test_the_figure_is_drawn",
    "kedro run --env folder --params faces_folder=FACES,labeled_folder=FEW,benchmark_folder=LFW,"
    "benchmark_pairs=LFW/pairs.txt": f"{UNLABELED}: test_a_few_labeled_people",
    "LAFS_FACES=FACES kedro run --env folder": f"{UNLABELED}: test_faces_alone_end_with_the_backbones",
    "kedro run --pipelines=adapt,evaluate --params adapt.timm.dinov2.name=vit_small_patch14_dinov2,"
    "adapt.timm.dinov2.image_size=224": (
        "tests/pipelines/test_adapt.py: test_a_model_of_timm_is_adapted_alike"
    ),
    "kedro run --pipelines=cataloging,pretrain,adapt,evaluate,report --params pretrain.methods=[grid]": (
        "tests/end_to_end/test_whole_run.py: test_plain_dino_needs_no_landmarks"
    ),
    "kedro run --env folder --pipelines=study": (
        "tests/end_to_end/test_study.py: test_the_table_is_that_of_the_runs"
    ),
    "LAFS_DATA=FOLDER kedro run --env few_labels --pipelines=cataloging,landmarks,pretrain,study": (
        "tests/pipelines/test_environments.py: test_every_group_is_accepted"
    ),
    "LAFS_WEBFACE4M=FOLDER kedro run --env webface4m": (
        "tests/pipelines/test_environments.py: test_the_published_recipes"
    ),
    "make bench-gpu": f"{BENCHMARKS}: test_benchmarks_end_with_a_line_of_json",
    "make profile": f"{BENCHMARKS}: test_the_profile_is_written",
    **{
        f"python -m benchmarks.{name}": "Makefile: bench"
        for name in (
            *(
                "cataloging",
                "contention",
                "evaluation",
                "loading",
                "pretrain_step",
                "rehearsal",
                "small_step",
            ),
            *("startup", "views"),
        )
    },
    **{
        f"python -m benchmarks.real_faces {words}": f"{REAL_FACES}: test_every_arm_is_in_the_table"
        for words in (
            "pack FACES --unlabeled DIR --labeled DIR --people DIR --lfw DIR PAIRS",
            "run FACES --size gpu --batch-size 128 --epochs 6 --landmark-epochs 10 --processes 12 --koleo 0",
            "table FACES",
            "run FACES --size cpu",
            "run FACES --size cpu --epochs 1 --koleo 0.1 --only lafs-s0",
        )
    },
    "python -m benchmarks.view_landmarks MODEL FOLDER": f"{REAL_FACES}: test_landmarks_of_zoomed_views",
    "kedro run --params tracking.enabled=false": (
        "tests/hooks/test_tracking.py: test_tracking_can_be_turned_off"
    ),
    **{
        f"lafs replay{folder}": f"{REPLAY}: test_a_run_gets_what_it_lacks_and_the_status_that_it_missed"
        for folder in ("", " FOLDER", " data/06_models/checkpoints")
    },
    "kedro run --pipelines=pretrain --params pretrain.training.epochs=120,pretrain.training.resume=extend": (
        "tests/training/test_result.py: test_more_epochs_on_request"
    ),
    **{
        f"kedro jupyter {server}": "tests/hooks/test_cli.py: test_what_is_installed_runs"
        for server in ("lab", "notebook")
    },
    "python -m pip install jupyterlab notebook": (
        "tests/hooks/test_cli.py: test_a_package_that_is_not_installed"
    ),
    "kedro run --pipelines=evaluate,report --params evaluate.models.authors=checkpoint.pth": (
        "tests/end_to_end/test_any_model.py: test_nothing_has_to_be_trained"
    ),
    "lafs search": "tests/commands/test_search.py: test_who_is_this",
    "lafs search GALLERY PROBE --model M --far 0.001 --out answers.html": (
        "tests/commands/test_search.py: test_who_is_this"
    ),
    "lafs embed": "tests/commands/test_commands.py: test_embed",
    "lafs benchmark": f"{BENCHMARK}: test_scores_are_those_of_the_model",
    **{
        f"lafs benchmark checkpoint.pth {what}": f"{BENCHMARK}: {test}"
        for what, test in (
            ("--bin lfw.bin cfp_fp.bin", "test_authors_checkpoint_and_its_graph_score_alike"),
            ("--pairs LFW LFW/pairs.txt", "test_lfw_of_a_known_recogniser"),
        )
    },
    "lafs checkpoints": f"{CHECKPOINTS}: test_every_training_is_listed_with_what_tells_it_from_its_siblings",
    "lafs checkpoints --delete NAME": (
        f"{CHECKPOINTS}: test_only_what_is_named_is_deleted_after_it_was_shown_and_confirmed"
    ),
    "srun kedro run --pipelines=pretrain": f"{LAUNCH}: test_the_tasks_of_a_slurm_step_are_taken_as_they_are",
    "srun torchrun --nnodes=2 --nproc-per-node=4 --rdzv-backend=c10d --rdzv-endpoint=$MASTER_ADDR:29500 "
    "-m kedro run": f"{LAUNCH}: test_torchruns_processes_are_taken_as_they_are",
    **dict.fromkeys(ADDRESS.values(), f"{LAUNCH}: test_a_slurm_step_without_a_variable_is_refused"),
}
"""Commands that take hours, a cluster or this test itself, and the test or target that runs what they run."""
