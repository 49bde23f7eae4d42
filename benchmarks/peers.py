"""mini-swe-agent in an environment of its own, so that it is measured in the same run as ours."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.measurement import BenchmarkError

MINI_VERSION = "2.4.6"
MINI = f"mini-swe-agent {MINI_VERSION}"
_REQUIREMENTS = (f"mini-swe-agent=={MINI_VERSION}", "mcp")  # litellm needs `mcp` and does not ask for it
_READY = "ready"


def mini_environment() -> Path:
    """The environment's `bin` folder; it is made at the first call. Raises BenchmarkError when it cannot be."""
    folder = _cache() / f"mini-{MINI_VERSION}"
    if not (folder / _READY).exists():
        print(f"installing {MINI} into {folder}", file=sys.stderr)
        _call([sys.executable, "-m", "venv", "--clear", str(folder)])
        _call([str(folder / "bin" / "pip"), "install", "--quiet", *_REQUIREMENTS])
        (folder / _READY).touch()
    return folder / "bin"


def mini_variables(folder: Path) -> dict[str, str]:
    """The environment variables under which it starts as fast as it can, and keeps its settings in `folder`."""
    return {
        **os.environ,
        "MSWEA_GLOBAL_CONFIG_DIR": str(folder),
        "MSWEA_CONFIGURED": "true",
        "MSWEA_SILENT_STARTUP": "1",
        "MSWEA_COST_TRACKING": "ignore_errors",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "OPENAI_API_KEY": "none",
        "NO_PROXY": "127.0.0.1",
    }


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unbroken" / "benchmarks"


def _call(command: list[str]) -> None:
    finished = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if finished.returncode != 0:
        message = f"{MINI} cannot be installed ({finished.stderr.strip()[-300:]}); --no-peer leaves it out"
        raise BenchmarkError(message)
