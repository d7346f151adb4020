"""`lafs` and `python -m lafs_pipeline.commands`: faces, models and trainings, without a project."""

import argparse
import os
import sys
from pathlib import Path

from lafs_pipeline.runtime.cores import wait_passively
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import local_path

MODEL = "a .safetensors, .onnx or authors' .pth file, or the folder of an exported model"
STATED = ("path", "image_size", "mean", "std", "channels", "flip", "output", "landmarks", "network")
"""Options of `lafs benchmark` that are fields of a `ModelChoice`."""
DETECTOR = (
    "YuNet ONNX file: finds and aligns the largest face of every image; without it images are taken as they "
    "are, square and aligned to the ArcFace template"
)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, or 1 after an error that the user can mend.

    argparse ends the process with 2 where the arguments are wrong.
    """
    chosen = _parser().parse_args(arguments)
    wait_passively()
    try:
        if chosen.command == "embed":
            from lafs_pipeline.commands.embed import embed_folder

            return embed_folder(chosen.folder, chosen.model, chosen.out, chosen.detector)
        if chosen.command == "benchmark":
            from lafs_pipeline.commands.benchmark import benchmark_model
            from lafs_pipeline.models.choice import ModelChoice

            stated = {name: getattr(chosen, name) for name in STATED if getattr(chosen, name) is not None}
            return benchmark_model(ModelChoice(**stated), chosen.bin, chosen.pairs, chosen.out)
        if chosen.command == "search":
            from lafs_pipeline.commands.search import SearchOptions, search_faces

            wanted = SearchOptions(
                model=chosen.model,
                detector=chosen.detector,
                count=chosen.top,
                rate=chosen.far,
                threshold=chosen.threshold,
                out=chosen.out,
            )
            return search_faces(chosen.gallery, chosen.probe, wanted)
        if chosen.command == "replay":
            from lafs_pipeline.tracking.replay import replay

            for replayed in replay(chosen.folder, chosen.tracking_uri):
                print(replayed)
            return 0
        if chosen.command == "checkpoints":
            from lafs_pipeline.commands.checkpoints import delete_trainings, list_trainings

            if chosen.delete:
                return delete_trainings(chosen.folder, chosen.delete, chosen.yes)
            return list_trainings(chosen.folder)
        from lafs_pipeline.commands.compare import compare_images

        return compare_images(chosen.first, chosen.second, chosen.model, chosen.detector)
    except LafsError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lafs", description="Face embeddings with a trained model; trainings on disk and in MLflow."
    )
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="{embed,compare,search,benchmark,replay,checkpoints}"
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--model", required=True, type=_local, help=MODEL)
    shared.add_argument("--detector", type=_local, metavar="YUNET", help=DETECTOR)
    embed = commands.add_parser(
        "embed",
        parents=[shared],
        help="the images of a folder become one Parquet file",
        description="Embed all images below a folder: one Parquet file with the columns key and embedding "
        "(float32, of length 1: the inner product of two is their cosine similarity).",
    )
    embed.add_argument("folder", type=_local, help="folder of images, with any sub-folders")
    embed.add_argument(
        "--out",
        type=_parquet,
        default=Path("embeddings.parquet"),
        help="where to write (default: %(default)s)",
    )
    compare = commands.add_parser(
        "compare",
        parents=[shared],
        help="two images: the same person?",
        description="Cosine similarity of two faces, and if it reaches the threshold of the model's card.",
    )
    compare.add_argument("first", type=_local, metavar="A", help="an image")
    compare.add_argument("second", type=_local, metavar="B", help="another image")
    _add_search(commands)
    _add_benchmark(commands)
    replay = commands.add_parser(
        "replay",
        help="the metrics of a training, to MLflow",
        description="Send what MLflow lacks of the metrics of a training, or of all trainings below a "
        "folder, to its own run where the store has that, else to a new one. Pictures and files are not.",
    )
    replay.add_argument("folder", type=_local, help="with metrics.jsonl in it or below it")
    replay.add_argument(
        "--tracking-uri",
        default=os.environ.get("MLFLOW_TRACKING_URI"),
        metavar="URI",
        help="of the MLflow store (default: MLFLOW_TRACKING_URI, else where the training was tracked)",
    )
    checkpoints = commands.add_parser(
        "checkpoints",
        help="list the checkpoints of trainings, and delete those named",
        description="List every training below a folder with its size, step, age, and what tells it from the "
        "others of its stage; or delete the trainings that are named.",
    )
    checkpoints.add_argument(
        "folder",
        type=_local,
        nargs="?",
        default=Path(os.environ.get("LAFS_DATA", "data")).expanduser() / "06_models/checkpoints",
        help="of the trainings (default: %(default)s)",
    )
    checkpoints.add_argument("--delete", nargs="+", metavar="NAME", help="as the list names them")
    checkpoints.add_argument("--yes", action="store_true", help="delete without asking")
    return parser


def _add_search(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    search = commands.add_parser(
        "search",
        help="who of a folder is this?",
        description="The nearest faces of a gallery, and whether they are near enough to be the same person. "
        "Search nobody who does not know of it.",
    )
    search.add_argument("gallery", type=_local, help="folder of people or images, or Parquet of `lafs embed`")
    search.add_argument("probe", type=_local, help="an image, a folder, or such a file")
    search.add_argument("--model", type=_local, help=f"{MODEL}; not needed for Parquet files")
    search.add_argument("--detector", type=_local, metavar="YUNET", help=DETECTOR)
    search.add_argument(
        "--top", type=_positive, default=5, metavar="K", help="answers (default: %(default)s)"
    )
    near = search.add_mutually_exclusive_group()
    near.add_argument(
        "--far",
        type=_rate,
        default=1e-3,
        metavar="RATE",
        help="false accept rate of one comparison, by the gallery's pairs of different people; it gives the "
        "threshold (default: %(default)s)",
    )
    near.add_argument("--threshold", type=float, metavar="COSINE", help="the threshold itself")
    search.add_argument("--out", type=_local, metavar="HTML", help="also write a page of faces and answers")


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number above 0")
    return int(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no rate between 0 and 1")
    return rate


def _add_benchmark(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    benchmark = commands.add_parser(
        "benchmark",
        help="any model on pairs of faces",
        description="Scores of a model of ours, of the authors', of timm or as ONNX, or of embeddings in a "
        "file, on pair sets that need no cataloging. What is not known of a model has to be stated.",
    )
    benchmark.add_argument("path", metavar="MODEL", help=f"{MODEL}; embeddings (.parquet, .npy); timm name")
    benchmark.add_argument(
        "--bin", type=_local, nargs="+", default=[], metavar="BIN", help="InsightFace pair sets"
    )
    benchmark.add_argument(
        "--pairs", type=_local, nargs=2, metavar=("FOLDER", "LIST"), help="aligned images and LFW's pairs.txt"
    )
    benchmark.add_argument("--out", type=_local, metavar="CSV", help="also write the whole table")
    stated = benchmark.add_argument_group("what is stated of the model", "as in evaluate.models")
    for name in ("mean", "std"):
        stated.add_argument(f"--{name}", type=_numbers, metavar="X", help="one number, or three: 0.5,0.5,0.5")
    stated.add_argument("--image-size", type=int, metavar="N", help="side of its images in pixels")
    stated.add_argument("--channels", choices=("rgb", "bgr"), help="order of the channels")
    stated.add_argument(
        "--flip", action=argparse.BooleanOptionalAction, help="sum the embeddings of image and mirror image"
    )
    stated.add_argument("--output", metavar="NAME", help="ONNX: which output is the embedding")
    stated.add_argument("--landmarks", type=_local, metavar="FILE", help="network for a pretraining's .pth")
    stated.add_argument("--network", choices=("teacher", "student"), help="of a pretraining's .pth")


def _numbers(text: str) -> float | tuple[float, ...]:
    try:
        values = tuple(map(float, text.split(",")))
    except ValueError:
        values = ()
    if len(values) not in (1, 3):
        raise argparse.ArgumentTypeError(f"'{text}' is neither one number nor three with commas")
    return values if len(values) == 3 else values[0]


def _parquet(name: str) -> Path:
    if not name.endswith(".parquet"):
        raise argparse.ArgumentTypeError(f"'{name}' does not end with .parquet")
    return _local(name)


def _local(path: str) -> Path:
    try:
        return Path(local_path(path, "the path"))
    except LafsError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
