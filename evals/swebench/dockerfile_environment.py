"""The variables that a Dockerfile sets, as a shell can set them again.

SWE-bench Pro's evaluation puts `export` in place of `ENV` in each such line of its Dockerfiles, and bash reads the
rest. So it loses what is written `ENV KEY VALUE` (10 lines of the 1,462 files), and would run what an unquoted value
holds. Here values are read as the Dockerfile reference has it, "ENV", and quoted; references to variables stay, as
that evaluation has the shell expand them once more.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

_ENV = re.compile(r"\s*ENV\s+(?P<rest>.*)")
_COMMENT = re.compile(r"\s*(#.*)?")
_CONTINUED = re.compile(r"\\[ \t]*$")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*(?::[-+][A-Za-z0-9_@%+=:,./ -]*)?\})")
_ESCAPED_IN_QUOTES = '"$\\`'


@dataclass(frozen=True)
class Assignment:
    """A variable that a Dockerfile sets."""

    name: str
    word: str
    """Its value as one word of a shell."""

    @property
    def export(self) -> str:
        """The line of a shell script that sets it."""
        return f"export {self.name}={self.word}"


def assignments(dockerfile: str) -> list[Assignment]:
    """What its ENV lines set, in order. Names that no shell takes are left out: bash exports none of those either."""
    return [
        Assignment(name, word)
        for line in _env_lines(dockerfile)
        for name, word in _pairs(line)
        if _NAME.fullmatch(name)
    ]


def _env_lines(dockerfile: str) -> Iterator[str]:
    """What stands behind ENV, with the lines that continue it. A heredoc's lines count too, as upstream."""
    lines = iter(dockerfile.split("\n"))
    for line in lines:
        found = _ENV.fullmatch(line)
        if found is None:
            continue
        text = found["rest"]
        while _CONTINUED.search(text):
            following = next((later for later in lines if not _COMMENT.fullmatch(later)), None)
            text = _CONTINUED.sub("", text) + (following or "")
        yield text.strip()


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    words = text.split(maxsplit=1)
    if words and "=" not in words[0]:
        if len(words) > 1:
            yield words[0], _Reader(words[1]).word(to_the_end=True)
        return
    reader = _Reader(text)
    while reader.skip_blanks():
        name = reader.name()
        yield name, reader.word()


class _Reader:
    """Reads words of a Dockerfile, and writes them so that a shell reads the same."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._literal = ""
        self._parts: list[str] = []

    def skip_blanks(self) -> bool:
        """Whether a word follows."""
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
        return self._at < len(self._text)

    def name(self) -> str:
        """What stands before the next `=`; the whole word where none does."""
        begin = self._at
        while self._at < len(self._text) and self._text[self._at] != "=" and not self._text[self._at].isspace():
            self._at += 1
        found = self._text[begin : self._at]
        if self._text[self._at : self._at + 1] != "=":
            return ""  # no assignment, which Docker refuses
        self._at += 1
        return found

    def word(self, *, to_the_end: bool = False) -> str:
        """The word that begins here, up to a blank outside of quotes, or the end of the line."""
        while self._at < len(self._text):
            character = self._text[self._at]
            if character.isspace() and not to_the_end:
                break
            if character == "'":
                self._single_quoted()
            elif character == '"':
                self._double_quoted()
            elif character == "\\":
                self._literal += self._text[self._at + 1 : self._at + 2]
                self._at += 2
            else:
                self._plain()
        return self._finished()

    def _single_quoted(self) -> None:
        end = self._text.find("'", self._at + 1)
        end = len(self._text) if end < 0 else end
        self._literal += self._text[self._at + 1 : end]
        self._at = end + 1

    def _double_quoted(self) -> None:
        self._at += 1
        while self._at < len(self._text) and self._text[self._at] != '"':
            following = self._text[self._at + 1 : self._at + 2]
            if self._text[self._at] == "\\" and following and following in _ESCAPED_IN_QUOTES:
                self._literal += following
                self._at += 2
            else:
                self._plain()
        self._at += 1

    def _plain(self) -> None:
        reference = _REFERENCE.match(self._text, self._at)
        if reference:
            self._parts += [shlex.quote(self._literal)] if self._literal else []
            self._parts.append(f'"{reference[0]}"')
            self._literal = ""
            self._at = reference.end()
        else:
            self._literal += self._text[self._at]
            self._at += 1

    def _finished(self) -> str:
        parts = self._parts + ([shlex.quote(self._literal)] if self._literal else [])
        self._literal, self._parts = "", []
        return "".join(parts) or "''"
