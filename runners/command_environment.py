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

_SECRET_NAME = re.compile(
    r"api_?key|access_?key|private_?key|secret|passw|passphrase|credential|token$|auth_?token|_pwd$|(^|_)auth$"
    r"|(^|_)(key|pat|pass|tokens?)(_|$)",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"GIT_CONFIG_KEY_\d+")
# A folder, a repository or an index that was meant for us (inside a git hook, say) is not the agent's.
_GIT_PLACES = re.compile(
    r"GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR|PREFIX|NAMESPACE)"
)
_SHORTEST_SECRET = 8


def local_environment(inherited: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give a command the environment of this machine, without secrets, and without our own virtual environment.

    Otherwise `python` in the user's repository would be ours, with our packages.
    """
    inherited = os.environ if inherited is None else inherited
    kept = {name: value for name, value in inherited.items() if not _is_left_out(name)}
    if _is_same(kept.get("VIRTUAL_ENV"), sys.prefix):
        kept.pop("VIRTUAL_ENV", None)
        kept.pop("VIRTUAL_ENV_PROMPT", None)
    ours = (str(Path(sys.prefix) / "bin"), str(Path(__file__).resolve().parent.parent))
    for name in ("PATH", "PYTHONPATH"):
        if name in kept:
            parts = [part for part in kept[name].split(os.pathsep) if not any(_is_same(part, own) for own in ours)]
            kept[name] = os.pathsep.join(parts)
            if not parts:
                del kept[name]
    return {**kept, **NON_INTERACTIVE}


def secret_values(environment: Mapping[str, str], *names: str) -> frozenset[str]:
    """What must never be recorded or shown: the values of `names`, and of every variable whose name tells a secret.

    A word, or what is as short as one, is left out, since it stands in harmless text too; so is the path of a file.
    """
    values = {value.strip() for name, value in environment.items() if name in names or _names_secret(name)}
    return frozenset(
        value
        for value in values
        if len(value) >= _SHORTEST_SECRET and not value.isalpha() and not os.path.exists(value)  # noqa: PTH110
    )


def _is_left_out(name: str) -> bool:
    return _names_secret(name) or _GIT_PLACES.fullmatch(name) is not None


def _names_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None and not _NO_SECRET.fullmatch(name)


def _is_same(path: str | None, own: str) -> bool:
    """Whether `path` is our own folder, however it is spelled; a relative one is the command's, wherever that runs."""
    return path is not None and os.path.isabs(path) and os.path.realpath(path) == os.path.realpath(own)  # noqa: PTH117
