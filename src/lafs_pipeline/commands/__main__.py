"""`lafs` and `python -m lafs_pipeline.commands`: embed images, compare two, look after trainings."""

import argparse
import os
import sys
from pathlib import Path

from lafs_pipeline.runtime.cores import wait_passively
from lafs_pipeline.runtime.errors import LafsError

MODEL = "a .safetensors, .onnx or authors' .pth file, or the folder of an exported model"
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
        dest="command", required=True, metavar="{embed,compare,replay,checkpoints}"
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--model", required=True, type=Path, help=MODEL)
    shared.add_argument("--detector", type=Path, metavar="YUNET", help=DETECTOR)
    embed = commands.add_parser(
        "embed",
        parents=[shared],
        help="the images of a folder become one Parquet file",
        description="Embed all images below a folder: one Parquet file with the columns key and embedding "
        "(float32, of length 1: the inner product of two is their cosine similarity).",
    )
    embed.add_argument("folder", type=Path, help="folder of images, with any sub-folders")
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
    compare.add_argument("first", type=Path, metavar="A", help="an image")
    compare.add_argument("second", type=Path, metavar="B", help="another image")
    replay = commands.add_parser(
        "replay",
        help="the metrics of a training, to MLflow",
        description="Send what MLflow lacks of the metrics of a training, or of all trainings below a "
        "folder, to its own run where the store has that, else to a new one. Pictures and files are not.",
    )
    replay.add_argument("folder", type=Path, help="with metrics.jsonl in it or below it")
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
        type=Path,
        nargs="?",
        default=Path(os.environ.get("LAFS_DATA", "data")).expanduser() / "06_models/checkpoints",
        help="of the trainings (default: %(default)s)",
    )
    checkpoints.add_argument("--delete", nargs="+", metavar="NAME", help="as the list names them")
    checkpoints.add_argument("--yes", action="store_true", help="delete without asking")
    return parser


def _parquet(name: str) -> Path:
    if not name.endswith(".parquet"):
        raise argparse.ArgumentTypeError(f"'{name}' does not end with .parquet")
    return Path(name)


if __name__ == "__main__":
    sys.exit(main())
