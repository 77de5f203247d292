"""Resident memory of this process, now and at its highest. Imports nothing that the start itself did not."""


def resident_mb() -> float:
    """Megabytes resident now."""
    return _status_mb("VmRSS:")


def peak_mb() -> float:
    """The most megabytes ever resident. On Linux getrusage would count what the parent held before exec."""
    return _status_mb("VmHWM:")


def _status_mb(name: str) -> float:
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith(name))
    except FileNotFoundError:  # not Linux: the peak is all that getrusage tells
        import resource
        import sys

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1024 / (1024 if sys.platform == "darwin" else 1)
