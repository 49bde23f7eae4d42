"""The environment that commands of an agent see: nothing that waits for a person, and no secrets."""

import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote

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

PINNED = {"TZ": "UTC", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
"""What makes the same command say the same, where an image says nothing else."""

TERMINAL_TYPE = "xterm"
"""What a program on a terminal takes it for."""

_SECRET_NAME = re.compile(
    r"api_?key|access_?key|private_?key|secret|passw|passphrase|credential|bearer|cookie|webhook|token$|auth_?token"
    r"|_pwd$|(^|_)pw$|(^|_)auth(_config)?$|(^|_)dsn$|connection_?string|^op_session_|^bw_session$|custom_headers$"
    r"|^bundle_\w+__(com|net|org|io|dev)$|(^|_)(key|pat|pass|tokens?|jwt|creds)(_|$)",
    re.IGNORECASE,
)
# What asks a person for a secret, or gets it from their editor, is no more for an agent than the secret is.
_ASKS_FOR_SECRET = re.compile(r"((GIT|SSH|SUDO|VSCODE_GIT)_ASKPASS|VSCODE_GIT_IPC_HANDLE)\w*")
_NO_SECRET = re.compile(r"GIT_CONFIG_KEY_\d+")
# A folder, a repository or an index that was meant for us (inside a git hook, say) is not the agent's.
_GIT_PLACES = re.compile(
    r"GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR|PREFIX|NAMESPACE)"
)
_SHORTEST_SECRET = 8
_LONGER_THAN_WORDS = 20
# Whatever the variable's name: a URL with a password, or a long word instead of it; a setting or a header with one; the
# keys whose makers gave them a shape to be found by.
_URL_WITH_SECRET = re.compile(r"\w://(?:[^\s/:@]*:([^\s/@]+)|([^\s/:@]{20,}))@")
_SETTING_WITH_SECRET = re.compile(
    r"(password|passwd|pwd|secret|api[-_]?key|account_?key|access_?key|authorization)\s*[=:]\s*\S", re.IGNORECASE
)
_SECRET_SHAPE = re.compile(
    r"\b(sk-[\w-]{16,}|gh[opsur]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_\w{16,}|npm_[A-Za-z0-9]{30,}"
    r"|pypi-\w{16,}|xox[abeoprs]-[\w-]{10,}|dckr_pat_[\w-]{16,}|(AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{30,}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+|[rs]k_(live|test)_\w{16,})|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)


def local_environment(inherited: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give a command the environment of this machine, without secrets, and without our own virtual environment.

    Otherwise `python` in the user's repository would be ours, with our packages. What stays are ways to use a secret
    that do not hold it, which a person's own programs need: an agent's socket (`SSH_AUTH_SOCK`), the path of a file
    that the user can read anyway (`KUBECONFIG`).
    """
    inherited = os.environ if inherited is None else inherited
    kept = {name: value for name, value in inherited.items() if not _is_left_out(name, value)}
    if _is_same(kept.get("VIRTUAL_ENV"), sys.prefix):
        kept.pop("VIRTUAL_ENV", None)
        kept.pop("VIRTUAL_ENV_PROMPT", None)
    ours = [str(Path(__file__).resolve().parent.parent)]
    if sys.prefix != sys.base_prefix:  # without an environment of our own, /usr/bin may be where our Python lies
        ours.append(str(Path(sys.prefix) / "bin"))
    for name in ("PATH", "PYTHONPATH"):
        if name in kept:
            parts = [part for part in kept[name].split(os.pathsep) if not any(_is_same(part, own) for own in ours)]
            kept[name] = os.pathsep.join(parts)
            if not parts:
                del kept[name]
    return {**kept, **NON_INTERACTIVE}


def pinned_beside(declared: Iterable[str]) -> dict[str, str]:
    """What is pinned in a container whose image sets variables, each `NAME=value`: those stay as they are."""
    names = {variable.partition("=")[0] for variable in declared}
    return {name: value for name, value in PINNED.items() if name not in names}


def terminal_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program that has a screen."""
    return {**environment, "TERM": TERMINAL_TYPE}


def secret_values(environment: Mapping[str, str], *names: str) -> frozenset[str]:
    """What must never be recorded or shown: the values of `names`, and of every variable that holds a secret.

    Of a URL also the password in it. A word, or what is as short as one, is left out, since it stands in harmless text
    too; so is the path of a file. Nobody's word is as long as a key.
    """
    held = [value for name, value in environment.items() if name in names or _is_secret(name, value)]
    passwords = [part for value in held for pair in _URL_WITH_SECRET.findall(value) for part in pair]
    values = {value.strip() for value in (*held, *passwords, *map(unquote, passwords))}
    return frozenset(
        value
        for value in values
        if len(value) >= (_LONGER_THAN_WORDS if value.isalpha() else _SHORTEST_SECRET) and not os.path.exists(value)  # noqa: PTH110
    )


def _is_left_out(name: str, value: str) -> bool:
    return _is_secret(name, value) or any(kind.fullmatch(name) for kind in (_GIT_PLACES, _ASKS_FOR_SECRET))


def _is_secret(name: str, value: str) -> bool:
    # A function that bash exports is code, which may well speak of passwords.
    return _names_secret(name) or (not name.startswith("BASH_FUNC_") and _holds_secret(value))


def _holds_secret(value: str) -> bool:
    return any(kind.search(value) for kind in (_URL_WITH_SECRET, _SETTING_WITH_SECRET, _SECRET_SHAPE))


def _names_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None and not _NO_SECRET.fullmatch(name)


def _is_same(path: str | None, own: str) -> bool:
    """Whether `path` is our own folder, however it is spelled; a relative one is the command's, wherever that runs."""
    return path is not None and os.path.isabs(path) and os.path.realpath(path) == os.path.realpath(own)  # noqa: PTH117
