"""A glob as ripgrep's `--glob` reads it, as a POSIX extended expression on a path that is relative to the root.

The rules are those of .gitignore: a glob without a slash matches names at any depth, one with a slash paths from the
root, `**` any number of directories, `!` in front excludes. Unlike ripgrep's, a glob only ever takes away: it brings
back nothing that is hidden or ignored. And one that ends in a slash means what is in the directory.
"""

import re
from dataclasses import dataclass

LONGEST = 500

_LITERAL_SIGNS = frozenset("\\.+*?()|[]{}^$")


class GlobError(ValueError):
    """A glob that cannot be read; the message says why."""


@dataclass(frozen=True)
class PathFilter:
    """Which paths are looked at."""

    expression: str
    excludes: bool = False


def read_glob(glob: str) -> PathFilter:
    """Read what a model wrote. Raises GlobError."""
    if len(glob) > LONGEST:
        message = f"it has {len(glob)} characters, and {LONGEST} are the most"
        raise GlobError(message)
    if re.search("[\0\n\ud800-\udfff]", glob):
        raise GlobError("it holds a character that is searched for in no path")
    excludes = glob.startswith("!")
    pattern = glob.removeprefix("!").removeprefix("./")
    inside = pattern.endswith("/")
    pattern = pattern.rstrip("/")
    if not pattern.strip("/"):
        raise GlobError("it is empty")
    anchored = "/" in pattern
    body = _Reader(pattern.lstrip("/")).expression()
    start = "^" if anchored else "^(.*/)?"
    end = "/.+$" if inside else "(/.*)?$" if excludes else "$"
    return PathFilter(f"{start}{body}{end}", excludes)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def expression(self) -> str:
        parts: list[str] = []
        while self._at < len(self._text):
            parts.append(self._next())
        if self._depth:
            raise GlobError("a brace in it is not closed")
        return "".join(parts)

    def _next(self) -> str:
        if found := self._directories():
            return found
        character = self._text[self._at]
        self._at += 1
        match character:
            case "*":
                return "[^/]*"
            case "?":
                return "[^/]"
            case "[":
                return self._bracket()
            case "{":
                self._depth += 1
                return "("
            case "}" if self._depth:
                self._depth -= 1
                return ")"
            case "," if self._depth:
                return "|"
            case "\\" if self._at < len(self._text):
                self._at += 1
                return _literal(self._text[self._at - 1])
            case _:
                return _literal(character)

    def _directories(self) -> str:
        """What two stars between slashes mean, which may stand at either end as well."""
        match = re.compile(r"(?P<slash>/|^)(?:\*\*/)+|/\*\*$|^\*\*$").match(self._text, self._at)
        if not match or (match[0].startswith("*") and self._at):
            return ""
        self._at = match.end()
        if match["slash"] is None:
            return ".+" if match[0] == "**" else "/.+"
        return f"{match['slash']}(.*/)?"

    def _bracket(self) -> str:
        match = re.compile(r"([!^]?)(\]?[^\]]*)\]").match(self._text, self._at)
        if not match:
            raise GlobError("a bracket in it is not closed")
        self._at = match.end()
        sign = "^/" if match[1] else ""
        content = match[2]
        if re.search(r"[\[\\^]", content) or (re.search(r"(.)-(?!$)(.)", content) and not _is_ascending(content)):
            raise GlobError("a bracket in it holds what cannot be read there: only characters and ranges can be")
        if sign and content.startswith("]"):
            return f"[^]/{content[1:]}]"
        return f"[{sign}{content}]"


def _is_ascending(content: str) -> bool:
    return all(first <= last for first, last in re.findall(r"(.)-(.)", content))


def _literal(character: str) -> str:
    return f"\\{character}" if character in _LITERAL_SIGNS else character
