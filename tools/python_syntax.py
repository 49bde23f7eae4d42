"""Advice on a Python file that an edit has left broken. Never an error: the file may be meant for another Python."""

import ast
import sys
import warnings

from tools.file_text import FileText

PARSED_LIMIT = 1_000_000
"""Characters; half a second's work. Longer files get no advice."""
_WHOLE_LIMIT = 16_000
"""Characters up to which a file is parsed whole at once; of a longer one first what is around the edit."""
_AROUND_LIMIT = 64_000
"""Characters before and behind an edit among which the top-level statements around it are looked for."""
_STATEMENTS = tuple(f"\n{word}" for word in ("def ", "class ", "async ", "@", "import ", "from "))
"""What begins a statement at the top level, and hardly ever a line of a text."""
_MESSAGE_LIMIT = 200


def advice_on_new_file(path: str, text: FileText) -> str | None:
    """A sentence about a new file that is no Python of our version; None for everything else."""
    if not _is_python(path, text) or (problem := _problem(text)) is None:
        return None
    return f"the file does not parse as Python {sys.version_info.major}.{sys.version_info.minor}: {problem}"


def advice_on_edit(path: str, before: FileText, after: FileText, start: int, end: int) -> str | None:
    """A sentence about a file that parsed before an edit, whose text is now at `start` to `end`, and does no more."""
    if not _is_python(path, after) or _parses_around(after.shown, start, end):
        return None
    if (problem := _problem(after)) is None or len(before.shown) > PARSED_LIMIT or _problem(before) is not None:
        return None
    return f"the file no longer parses as Python: {problem}"


def _is_python(path: str, text: FileText) -> bool:
    return path.endswith((".py", ".pyi")) and len(text.shown) <= PARSED_LIMIT


def _parses_around(text: str, start: int, end: int) -> bool:
    """Whether the top-level statements around an edit parse by themselves: then the file does as it did before."""
    if len(text) <= _WHOLE_LIMIT:
        return False
    line_start = text.rfind("\n", 0, start) + 1
    lowest, highest = max(0, line_start - _AROUND_LIMIT), min(len(text), end + _AROUND_LIMIT)
    first = max(text.rfind(word, lowest, line_start) for word in _STATEMENTS)
    last = min((found for word in _STATEMENTS if (found := text.find(word, end, highest)) != -1), default=highest)
    if (first == -1 and lowest > 0) or (last == highest < len(text)):
        return False  # inside of something very long
    return _parse(text[first + 1 : last + 1]) is None


def _problem(text: FileText) -> str | None:
    if not text.is_exact:
        return f"it holds bytes that are not {(text.encoding.label or text.encoding.codec).upper()}"
    error = _parse(text.shown)
    return f"line {error.lineno}: {error.msg}"[:_MESSAGE_LIMIT] if error else None


def _parse(source: str) -> SyntaxError | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(source)
        except SyntaxError as error:
            return error
        except (ValueError, RecursionError, MemoryError):
            return None  # nested too deeply for us, or not for a parser at all: nothing to say
    return None
