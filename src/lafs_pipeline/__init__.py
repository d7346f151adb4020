"""LAFS: self-supervised face recognition with landmark-based views, as a Kedro pipeline."""

__version__ = "0.1.0"
