"""The environment that commands of an agent see: nothing that waits for a person, and no secrets."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

NON_INTERACTIVE = {
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "MANPAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_EDITOR": "true",
    "DEBIAN_FRONTEND": "noninteractive",
    "PIP_PROGRESS_BAR": "off",
    "TQDM_DISABLE": "1",
    "TERM": "dumb",
}
"""Programs that page, prompt, edit or draw progress would hang or fill the context."""

_SECRET_NAME = re.compile(r"(?i)(api_?key|access_?key|secret|token|passw|credential|private_?key)")


def local_environment(inherited: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give a command the environment of this machine, without secrets, and without our own virtual environment.

    Otherwise `python` in the user's repository would be ours, with our packages.
    """
    inherited = os.environ if inherited is None else inherited
    kept = {name: value for name, value in inherited.items() if not _SECRET_NAME.search(name)}
    if kept.get("VIRTUAL_ENV") == sys.prefix:
        del kept["VIRTUAL_ENV"]
    ours = {str(Path(sys.prefix) / "bin"), str(Path(__file__).resolve().parent.parent)}
    for name in ("PATH", "PYTHONPATH"):
        if name in kept:
            kept[name] = os.pathsep.join(part for part in kept[name].split(os.pathsep) if part not in ours)
    if not kept.get("PYTHONPATH", "x"):
        del kept["PYTHONPATH"]
    return {**kept, **NON_INTERACTIVE}
