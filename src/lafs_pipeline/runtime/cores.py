"""Cores of this machine, and threads that share them with whatever else computes."""

import os

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def wait_passively() -> None:
    """Let OpenMP's threads sleep while they wait for each other; what a user has set stays.

    As they are they spin, and keep the thread that they wait for from its core when another process computes.
    OpenMP reads this once, when torch is imported; processes started later inherit it.
    """
    if not os.environ.keys() & WAITING:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
