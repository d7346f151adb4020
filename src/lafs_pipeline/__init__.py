"""LAFS: self-supervised face recognition with landmark-based views, as a Kedro pipeline."""

import sys

__version__ = "0.1.0"

if sys.platform == "win32":
    raise ImportError(
        "lafs_pipeline runs on Linux and macOS. Windows lacks file locks and signals that trainings need: "
        "install it in the Windows Subsystem for Linux (wsl --install) and run it there."
    )
