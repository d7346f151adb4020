"""What a process held at most."""

import resource
from pathlib import Path


def peak_mb() -> float:
    """Peak resident memory of this process alone; `ru_maxrss` would begin at its parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**10
