"""The editor's way to files in a sandbox: every refusal in the same words, whatever kind of sandbox it is."""

import errno
import os
import shlex
import unicodedata
from dataclasses import dataclass
from pathlib import PurePosixPath

from tools import editor_answers as answers
from tools import editor_encoding
from tools.editor_view import Listing
from tools.output import CHARACTER_LIMIT, decode
from tools.pictures import other_medium
from tools.sandbox import CommandResult, Sandbox

FILE_LIMIT = 100 * 1024 * 1024
"""Bytes; a larger file is refused."""
BINARY_PROBE = 8 * 1024
"""A NUL among this many first bytes means that the file is no text, unless its byte order mark says UTF-16."""
HELPER_TIMEOUT = 60.0
"""Seconds that listing a directory or removing a file may take."""

_NAME_LIMIT = 255
_PATH_LIMIT = 4_096
"""Bytes, as Linux has it (`NAME_MAX`, `PATH_MAX`)."""
_SPOILT_BY = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors that come when the file has been cut to nothing already."""
_CANNOT_ENTER = 66
_REASON_LIMIT = 500


class RefusalError(Exception):
    """What was asked for cannot be done; the message is the answer to the model."""


class MissingFileError(Exception):
    """A path leads nowhere."""


def check_length(path: str) -> None:
    """Refuse a path that no file can have, before it travels. Raises RefusalError."""
    if len(path.encode()) > _PATH_LIMIT or any(len(part.encode()) > _NAME_LIMIT for part in path.split("/")):
        raise RefusalError(answers.failed(os.strerror(errno.ENAMETOOLONG), "read", path))


async def read(path: str, sandbox: Sandbox) -> bytes:
    """The bytes of a file. Raises RefusalError, MissingFileError, and IsADirectoryError."""
    check_length(path)
    try:
        data = await sandbox.read_bytes(path, limit=FILE_LIMIT + 1)
    except IsADirectoryError:
        raise
    except OSError as error:
        if _is_missing(error):
            raise MissingFileError from None
        raise RefusalError(answers.failed(_reason(error), "read", path)) from None
    if len(data) > FILE_LIMIT:
        raise RefusalError(answers.too_large(path))
    return data


async def read_text(path: str, sandbox: Sandbox) -> bytes:
    """The bytes of a text file; raises like `read`."""
    return as_text(path, await read(path, sandbox))


def as_text(path: str, data: bytes) -> bytes:
    """Let the bytes of a text pass. Raises RefusalError for others."""
    if medium := other_medium(data):
        raise RefusalError(answers.other_medium(path, medium))
    if b"\0" in data[:BINARY_PROBE] and not editor_encoding.read(data).encoding.is_wide:
        raise RefusalError(answers.binary(path))
    return data


async def exists(path: str, sandbox: Sandbox) -> bool:
    """Whether there is a file. Raises RefusalError, and IsADirectoryError for a directory."""
    check_length(path)
    try:
        await sandbox.read_bytes(path, limit=1)
    except IsADirectoryError:
        raise
    except OSError as error:
        if _is_missing(error):
            return False  # a file where a directory is needed is for `write` to explain
        raise RefusalError(answers.failed(_reason(error), "read", path)) from None
    return True


async def write(path: str, data: bytes, before: bytes | None, sandbox: Sandbox) -> None:
    """Write a file whose content was `before` (None: there was none). Raises RefusalError, with `before` put back."""
    try:
        await sandbox.write_bytes(path, data)
    except IsADirectoryError:
        raise
    except OSError as error:
        problem = answers.failed(_reason(error), "write to", path)
        if before is None and (target := await _dead_link_target(path, sandbox)):
            problem = answers.dead_link(path, target)
        elif isinstance(error, PermissionError) and _reason(error) == os.strerror(errno.EACCES):
            problem += answers.NOT_PERMITTED
        elif error.errno in _SPOILT_BY:
            problem += await _put_back(path, before, sandbox)
        raise RefusalError(problem) from None


async def remove(path: str, sandbox: Sandbox) -> None:
    """Remove a file; of a symbolic link what it leads to, since that is what was written. Raises RefusalError."""
    quoted = shlex.quote(path)
    result = await sandbox.exec(
        f'p={quoted}; if [ -L "$p" ]; then p=$(readlink -f "$p") || exit; fi; rm -f -- "$p"', timeout=HELPER_TIMEOUT
    )
    if result.exit_code != 0:
        raise RefusalError(answers.failed(_reason_of(result), "remove", path))


async def list_directory(path: str, sandbox: Sandbox) -> Listing:
    """What a directory holds, two levels deep, without hidden items. Raises RefusalError."""
    result = await sandbox.exec(_LIST.format(path=shlex.quote(path)), timeout=HELPER_TIMEOUT)
    if result.exit_code == _CANNOT_ENTER:
        raise RefusalError(answers.failed(os.strerror(errno.EACCES), "list", path))
    if result.exit_code != 0:
        raise RefusalError(answers.failed(_reason_of(result), "list", path))
    listed, _, unreadable = result.output.removesuffix(b"\n").rpartition(b"\n")
    listed, _, count = listed.rpartition(b"\n")
    if result.dropped:  # names of thousands of characters: a listing has no room for what follows
        listed = result.output[: result.head_length].rpartition(b"\n")[0]
    if not unreadable.isdigit() or not (count or b"0").isdigit():
        raise RefusalError(answers.failed(answers.STRANGE_OUTPUT, "list", path))
    # `tr` has exchanged the line ends, which names may hold, for a character that no name has.
    names = [decode(line.removeprefix(b"./")).replace("\x01", "\n") for line in listed.split(b"\n") if line]
    return Listing([str(PurePosixPath(path, name)) for name in names], int(count or 0), int(unreadable))


@dataclass(frozen=True)
class Lead:
    """What there is in the place of a path that leads nowhere."""

    meant: str | None
    """The same path as the file system spells it."""
    hint: str
    """What else may help to find it, as a sentence, or nothing."""


async def look_for(path: str, sandbox: Sandbox) -> Lead:
    """Look where a path that leads nowhere ends."""
    result = await sandbox.exec(_LOOK.format(path=shlex.quote(path)), timeout=HELPER_TIMEOUT)
    found, *names = (decode(name) for name in result.output.split(b"\0"))
    if result.exit_code != 0 or not found.startswith(("L", "D")):
        return Lead(None, "")
    if found.startswith("L"):
        return Lead(None, answers.leads_nowhere(found[1:].removesuffix("\n")))
    folder = PurePosixPath(found[1:])
    if folder == PurePosixPath(path):
        return Lead(None, "")  # it has come into being
    wanted, *below = PurePosixPath(path).relative_to(folder).parts
    same = [name for name in names if name != wanted and _normal(name) == _normal(wanted)]
    if len(same) == 1:
        return Lead(str(folder.joinpath(same[0], *below)), "")
    alike = [name for name in names if name != wanted and _normal(name).casefold() == _normal(wanted).casefold()]
    return Lead(None, answers.maybe_meant(str(folder.joinpath(alike[0], *below))) if len(alike) == 1 else "")


async def _put_back(path: str, before: bytes | None, sandbox: Sandbox) -> str:
    try:
        if before is None:
            await remove(path, sandbox)
            return answers.NOTHING_LEFT
        await sandbox.write_bytes(path, before)
    except (OSError, RefusalError):
        return answers.SPOILT
    return answers.PUT_BACK


async def _dead_link_target(path: str, sandbox: Sandbox) -> str:
    """What a link points to through which no file can be made; empty for everything else."""
    command = f'p={shlex.quote(path)}; [ -L "$p" ] && ! readlink -f "$p" >/dev/null && readlink "$p"'
    result = await sandbox.exec(command, timeout=HELPER_TIMEOUT)
    return decode(result.output).removesuffix("\n") if result.exit_code == 0 else ""


def _is_missing(error: OSError) -> bool:
    return isinstance(error, (FileNotFoundError, NotADirectoryError)) or error.errno == errno.ELOOP


def _reason(error: OSError) -> str:
    """The error in words; the same for all sandboxes, which tell the kind of it and not always the number.

    One that adds to the system's words why it is so, as a confined sandbox does, is let say so.
    """
    for kind, number in _NUMBERS.items():
        if isinstance(error, kind):
            words = os.strerror(number)
            return error.strerror if error.strerror and error.strerror.startswith(f"{words}: ") else words
    return error.strerror or type(error).__name__


_NUMBERS: dict[type[OSError], int] = {
    PermissionError: errno.EACCES,
    FileNotFoundError: errno.ENOENT,
    NotADirectoryError: errno.ENOTDIR,
    FileExistsError: errno.ENOTDIR,  # from making the folders of a path that leads through a file
}


def _reason_of(result: CommandResult) -> str:
    return "a timeout" if result.timed_out else decode(result.output).strip()[:_REASON_LIMIT]


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


# Plain sh, and nothing but what busybox has too. From inside the directory, so that a hidden folder on the way to it
# hides nothing. What comes back: the first entries, one a line, then how many there are if there are any, then how
# many directories may not be read.
_LIST = f"""
cd {{path}} 2>/dev/null || exit {_CANNOT_ENTER}
list() {{{{
  if command -v find >/dev/null; then find . -mindepth 1 -maxdepth 2 -name '.*' -prune -o -print0; return; fi
  for name in * */*; do
    case $name in */*) if [ -L "${{{{name%%/*}}}}" ]; then continue; fi ;; esac
    if [ -e "$name" ] || [ -L "$name" ]; then printf './%s\\000' "$name"; fi
  done
}}}}
{{{{ problems=$({{{{ list | tr '\\n\\000' '\\001\\n' | LC_ALL=C sort | sed -n '1,{CHARACTER_LIMIT // 2}p;$=' >&3; }}}} 2>&1); }}}} 3>&1
echo $(printf '%s\\n' "$problems" | sed /^$/d | wc -l)
"""  # noqa: E501
_LOOK = """
p={path}
if [ -L "$p" ]; then printf L; exec readlink "$p"; fi
folder=$p
until [ -d "$folder" ]; do folder=${{folder%/*}} folder=${{folder:-/}}; done
cd "$folder" && {{ printf 'D%s\\000' "$folder"; printf '%s\\000' * .*; }} | head -c 1000000
"""
