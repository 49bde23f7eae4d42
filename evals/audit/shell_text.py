"""Splits shell text into the simple commands that bash would run. Nothing is run, and nothing fails.

What is quoted stays text: `git commit -m "git log --all"` is one command, and so is a here-document with everything
in it. What bash would run inside a text is found there: `$(…)`, backquotes and `<(…)`, also in double quotes and in
here-documents whose delimiter is not quoted. Text that is no shell gives whatever can be made of it.

The work is linear in the length of the text: each character is read once at each depth of nesting, and below
`DEEPEST` levels nothing is looked into.
"""

import re
from dataclasses import dataclass, field

DEEPEST = 12
LONGEST_TEXT = 1_000
SUBSTITUTED = "$(…)"
"""Stands in a word for what a substitution would print."""

_PLAIN = re.compile(r"[^ \t\r\n\\'\"`$;&|<>()]+")
_PLAIN_IN_QUOTES = re.compile(r"[^\"\\$`]+")
_PLAIN_IN_DOCUMENT = re.compile(r"[^\\$`]+")
_ANSI_QUOTED = re.compile(r"(?:[^'\\]|\\.)*+", re.DOTALL)
_BACKQUOTED = re.compile(r"(?:[^`\\]|\\.)*+", re.DOTALL)
_REDIRECT = re.compile(r"&>>|&>|<<<|<<-|<<|<>|>>|>\||>&|<&|>|<")
_ESCAPED = re.compile(r"\\([`$\\])")


@dataclass(frozen=True)
class Redirect:
    """`> file`; here-documents are not among them."""

    operator: str
    target: str

    @property
    def writes(self) -> bool:
        """Whether the target is a file that is written."""
        return ">" in self.operator and self.target not in ("", "-", "/dev/null") and not self.target.isdigit()

    @property
    def appends(self) -> bool:
        """Whether what was in the file stays."""
        return ">>" in self.operator


@dataclass
class SimpleCommand:
    """One command with its words as bash would pass them, variables not replaced."""

    words: list[str] = field(default_factory=list[str])
    redirects: list[Redirect] = field(default_factory=list[Redirect])
    inputs: list[str] = field(default_factory=list[str])
    """Here-documents and here-strings."""
    text: str = ""
    """As it was written, without its here-documents, and cut."""
    piped_from: "SimpleCommand | None" = None
    is_nested: bool = False
    """Whether it runs in a shell of its own: in `(…)`, or in a substitution."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it has been read."""
        return not (self.words or self.redirects or self.inputs)


def read_commands(text: str) -> list[SimpleCommand]:
    """All simple commands in `text`, those inside substitutions included."""
    reader = _Reader(text, [])
    reader.read_list(depth=0)
    return reader.commands


@dataclass(frozen=True)
class _Pending:
    """A here-document that begins on the next line."""

    command: SimpleCommand
    delimiter: str
    strips_tabs: bool
    is_quoted: bool


class _Reader:
    def __init__(self, text: str, commands: list[SimpleCommand]) -> None:
        self.commands = commands
        self._text = text
        self._at = 0
        self._pending: list[_Pending] = []

    def read_list(self, depth: int) -> None:
        """Read commands up to the `)` that closes a substitution, or to the end."""
        command, start, open_groups = SimpleCommand(), self._at, 0
        word_end = -1
        while self._at < len(self._text):
            at, character = self._at, self._text[self._at]
            operator = _REDIRECT.match(self._text, at)
            if character in " \t\r" or (character == "\n" and command.is_empty and not self._pending):
                self._at += 1
            elif character == "#":
                self._at = self._line_end()
            elif self._text.startswith("\\\n", at):
                self._at += 2
            elif operator is not None:
                if word_end == at and command.words and command.words[-1].isdigit():
                    command.words.pop()  # the number of a stream, as in `2>`
                self._read_redirect(operator, command, depth)
            elif character in "\n;&|()":
                self._at += 1
                piped = character == "|" and not self._text.startswith("|", self._at)
                command.is_nested = depth > 0 or open_groups > 0
                self._finish(command, start, at)
                if character == ")" and depth and not open_groups:
                    return
                open_groups += (character == "(") - (character == ")" and open_groups > 0)
                self._at += self._text.startswith(character, self._at) if character in ";&|" else 0
                if character == "\n":
                    self._read_documents(depth)
                command, start = SimpleCommand(piped_from=command if piped else None), self._at
            else:
                if command.is_empty:
                    start = at
                command.words.append(self._read_word(depth))
                word_end = self._at
        command.is_nested = depth > 0 or open_groups > 0
        self._finish(command, start, self._at)

    def _finish(self, command: SimpleCommand, start: int, end: int) -> None:
        if not command.is_empty or any(one.command is command for one in self._pending):
            command.text = self._text[start : min(end, start + LONGEST_TEXT)].strip()
            self.commands.append(command)

    def _read_word(self, depth: int) -> str:
        pieces: list[str] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            if plain := _PLAIN.match(self._text, self._at):
                pieces.append(plain[0])
                self._at = plain.end()
            elif character == "\\":
                pieces.append(self._text[self._at + 1 : self._at + 2].replace("\n", ""))
                self._at += 2
            elif character == "'":
                pieces.append(self._up_to("'"))
            elif character == '"':
                self._at += 1
                pieces.append(self._read_expanding(_PLAIN_IN_QUOTES, '"', depth))
            elif character in "$`":
                pieces.append(self._read_expansion(depth))
            else:
                break
        return "".join(pieces)

    def _read_expanding(self, plain: re.Pattern[str], closing: str, depth: int) -> str:
        """A text in which substitutions are carried out, up to `closing`, or to the end when that is empty."""
        pieces: list[str] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            if run := plain.match(self._text, self._at):
                pieces.append(run[0])
                self._at = run.end()
            elif character == "\\":
                following = self._text[self._at + 1 : self._at + 2]
                pieces.append(following if following in '"\\$`' else "" if following == "\n" else "\\" + following)
                self._at += 2
            elif character in "$`":
                pieces.append(self._read_expansion(depth, quoted=True))
            else:  # the quote that closes
                self._at += len(closing)
                break
        return "".join(pieces)

    def _read_expansion(self, depth: int, *, quoted: bool = False) -> str:
        """What begins with `$` or a backquote."""
        if self._text[self._at] == "`":
            return self._read_backquoted(depth)
        if self._text.startswith("$(", self._at):
            self._at += 2
            if depth >= DEEPEST:
                return "$("
            self.read_list(depth + 1)
            return SUBSTITUTED
        if self._text.startswith("$'", self._at) and not quoted:
            inside = _ANSI_QUOTED.match(self._text, self._at + 2)
            assert inside is not None
            self._at = inside.end() + 1
            return inside[0].replace("\\n", "\n").replace("\\t", "\t").replace("\\'", "'")
        self._at += 1
        return "$"

    def _read_backquoted(self, depth: int) -> str:
        inside = _BACKQUOTED.match(self._text, self._at + 1)
        assert inside is not None
        self._at = inside.end() + 1
        if depth < DEEPEST:
            _Reader(_ESCAPED.sub(r"\1", inside[0]), self.commands).read_list(depth + 1)
        return SUBSTITUTED

    def _read_redirect(self, operator: re.Match[str], command: SimpleCommand, depth: int) -> None:
        self._at = operator.end()
        if operator[0] in "<>" and self._text.startswith("(", self._at) and depth < DEEPEST:
            self._at += 1
            self.read_list(depth + 1)
            command.words.append(SUBSTITUTED)
            return
        while self._text.startswith((" ", "\t"), self._at):
            self._at += 1
        start = self._at
        target = self._read_word(DEEPEST if operator[0] in ("<<", "<<-") else depth)
        if operator[0] == "<<<":
            command.inputs.append(target)
        elif operator[0] in ("<<", "<<-"):
            is_quoted = any(mark in self._text[start : self._at] for mark in "'\"\\")
            self._pending.append(_Pending(command, target, operator[0] == "<<-", is_quoted))
        else:
            command.redirects.append(Redirect(operator[0], target))

    def _read_documents(self, depth: int) -> None:
        """The here-documents that begin here."""
        pending, self._pending = self._pending, []
        for document in pending:
            body = self._read_body(document)
            if not document.is_quoted and depth < DEEPEST:
                body = _Reader(body, self.commands)._read_expanding(_PLAIN_IN_DOCUMENT, "", depth + 1)
            document.command.inputs.append(body)

    def _read_body(self, document: _Pending) -> str:
        start = self._at
        while self._at < len(self._text):
            line_start, self._at = self._at, self._line_end() + 1
            line = self._text[line_start : self._at - 1].rstrip("\r")
            if (line.lstrip("\t") if document.strips_tabs else line) == document.delimiter:
                return self._text[start:line_start]
        return self._text[start:]

    def _up_to(self, quote: str) -> str:
        start = self._at + 1
        end = self._text.find(quote, start)
        end = len(self._text) if end < 0 else end
        self._at = end + 1
        return self._text[start:end]

    def _line_end(self) -> int:
        end = self._text.find("\n", self._at)
        return len(self._text) if end < 0 else end
