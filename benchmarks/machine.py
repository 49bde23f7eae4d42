"""What a figure depends on beside the code: the machine, and how busy it is."""

import os
import platform
from pathlib import Path


def description() -> str:
    """Processor, cores, memory, kernel and Python in one line."""
    processor = _first_value(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine()
    memory = _first_value(Path("/proc/meminfo"), "MemTotal")
    gigabytes = f", {int(memory.split()[0]) * 1024 / 1e9:.0f} GB" if memory else ""
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    return f"{processor}, {os.cpu_count()} cores{gigabytes}; {system}; Python {platform.python_version()}"


def load() -> str:
    """The load average of the last minute; on a quiet machine it stays below the number of cores."""
    return f"{os.getloadavg()[0]:.1f}"


def peak_memory(process_id: int) -> int | None:
    """Bytes that were resident at most in a live process; None when it is gone.

    From `VmHWM` in /proc/PID/status: `ru_maxrss` would count what the parent held when it forked.
    """
    value = _first_value(Path(f"/proc/{process_id}/status"), "VmHWM")
    return int(value.split()[0]) * 1024 if value else None


def _first_value(path: Path, key: str) -> str | None:
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.split(":")[0].strip() == key), None)
