"""What a shell command comes to: which programs run with which arguments, through every wrapper around them.

`sudo timeout 5 env A=1 python -m pip install x` runs `pip`; `bash -c '…'`, `eval`, a here-document for `sh` and
`echo '…' | sh` are shell text again; `python - <<EOF`, `python -c` and the like are code. The words of `echo` and of
`git commit -m` stay words.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from evals.audit.shell_text import Redirect, SimpleCommand, read_commands

DEEPEST_SCRIPT = 4
"""Shells within shells that are looked into."""

_KEYWORDS = frozenset(["if", "then", "elif", "else", "while", "until", "do", "!", "{", "time"])
_NO_COMMANDS = frozenset(["for", "case", "select", "function", "in", "fi", "done", "esac", "}"])
_SHELLS = frozenset(["sh", "bash", "dash", "zsh", "ksh", "ash"])
_INTERPRETERS = frozenset(["python", "perl", "ruby", "node", "php"])
_PRINTERS = frozenset(["echo", "printf", "cat"])
_INLINE_CODE = frozenset(["-c", "-e", "-E", "-r", "--eval", "-p", "-ne", "-pe"])

_WRAPPERS: dict[str, tuple[str, int]] = {
    "sudo": ("-u -g -h -p -C", 0),
    "doas": ("-u", 0),
    "env": ("-u -C -S --unset --chdir", 0),
    "nice": ("-n", 0),
    "ionice": ("-c -n", 0),
    "nohup": ("", 0),
    "setsid": ("", 0),
    "command": ("", 0),
    "builtin": ("", 0),
    "exec": ("-a", 0),
    "busybox": ("", 0),
    "stdbuf": ("-i -o -e", 0),
    "timeout": ("-s -k --signal --kill-after", 1),
    "gtimeout": ("-s -k", 1),
    "strace": ("-e -o -s", 0),
    "chronic": ("", 0),
    "unbuffer": ("", 0),
    "faketime": ("", 1),
    "chroot": ("", 1),
    "xargs": ("-n -I -P -L -d -a -s -E --max-args --max-procs --delimiter", 0),
    "parallel": ("-j --jobs", 0),
    "watch": ("-n", 0),
}
"""For each: the options that take a word of their own, and how many words come before the program."""

_RUNNERS = {
    ("conda", "run"): "-n -p --name --prefix --cwd",
    ("mamba", "run"): "-n -p --name --prefix",
    ("micromamba", "run"): "-n -p --name --prefix",
    ("uv", "run"): "--with --python -p --extra --group",
    ("poetry", "run"): "",
    ("pipenv", "run"): "",
    ("pdm", "run"): "",
    ("hatch", "run"): "",
}


@dataclass(frozen=True)
class Program:
    """A program that runs. `name` has no folder and no version: `/usr/bin/python3.11` is `python`."""

    name: str
    arguments: Sequence[str]
    redirects: Sequence[Redirect]
    inputs: Sequence[str]
    """What it is known to read from its standard input."""
    text: str
    """The command as it was written, cut."""
    is_nested: bool = False
    """Whether it runs in a shell of its own, so that a `cd` is over with it."""

    @property
    def plain_arguments(self) -> list[str]:
        """Those that are no options."""
        return [word for word in self.arguments if not word.startswith("-")]

    def has(self, *options: str) -> bool:
        """Whether one of `options` is given, as `--option` or `--option=value`."""
        return any(word == option or word.startswith(option + "=") for word in self.arguments for option in options)


@dataclass(frozen=True)
class Code:
    """A program text for an interpreter."""

    source: str
    text: str


def programs_in(shell_text: str) -> Iterator[Program | Code]:
    """Everything that runs when `shell_text` does, as far as the text tells."""
    waiting = [(shell_text, 0)]
    while waiting:
        text, depth = waiting.pop()
        for command in read_commands(text):
            for program in _programs_of(command, is_nested=command.is_nested or depth > 0):
                yield program
                if depth < DEEPEST_SCRIPT:
                    waiting += [(script, depth + 1) for script in _scripts(program)]
                if program.name in _INTERPRETERS:
                    yield from (Code(source, program.text) for source in _code(program))


def script_paths(program: Program) -> list[str]:
    """The script files that it runs: `bash x.sh`, `python x.py`, `./x.sh`, `source x.sh`."""
    if program.name in _SHELLS | _INTERPRETERS | {"source", "."}:
        return program.plain_arguments[:1]
    return [program.text.split(maxsplit=1)[0]] if program.text.startswith(("./", "/")) else []


def _programs_of(command: SimpleCommand, *, is_nested: bool) -> Iterator[Program]:
    words = _without_prefix(command.words)
    if words[:1] and words[0] in _NO_COMMANDS:
        words = words[:0]
    inputs = list(command.inputs)
    if command.piped_from is not None:
        inputs += _printed(command.piped_from)
    name, arguments = _program_name(words)
    yield Program(name, arguments, command.redirects, inputs, command.text, is_nested)
    if name == "find":
        for found in _executed_by_find(arguments):
            inner, rest = _program_name(found)
            yield Program(inner, rest, (), (), command.text)


def _without_prefix(words: Sequence[str]) -> Sequence[str]:
    """Take keywords, assignments and wrappers away, however many there are."""
    at = 0
    while at < len(words):
        word = words[at]
        name = _base_name(word)
        if word in _KEYWORDS or _is_assignment(word):
            at += 1
        elif name in _WRAPPERS:
            at = _behind_options(words, at + 1, *_WRAPPERS[name])
        elif at + 1 < len(words) and (name, words[at + 1]) in _RUNNERS:
            at = _behind_options(words, at + 2, _RUNNERS[name, words[at + 1]], 0)
        else:
            break
    return words[at:]


def _behind_options(words: Sequence[str], at: int, with_value: str, positional: int) -> int:
    valued = with_value.split()
    while at < len(words) and (words[at].startswith("-") or _is_assignment(words[at])):
        at += 2 if words[at] in valued else 1
    return min(at + positional, len(words))


def _is_assignment(word: str) -> bool:
    return word.partition("=")[0].isidentifier() and "=" in word


def _base_name(word: str) -> str:
    name = word.rpartition("/")[2]
    stem = name.rstrip("0123456789.")
    return stem if stem in _INTERPRETERS or stem in ("pip", "easy_install") else name


def _program_name(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The program and its arguments; of `python -m module`, the module."""
    if not words:
        return "", ()
    name, arguments = _base_name(words[0]), words[1:]
    if name != "python":
        return name.removesuffix("-script.py"), arguments
    for index, word in enumerate(arguments):
        if word == "-m":
            return "".join(arguments[index + 1 : index + 2]), arguments[index + 2 :]
        if not word.startswith("-") or word in ("-c", "-"):
            break
    return name, arguments


def _executed_by_find(arguments: Sequence[str]) -> Iterator[Sequence[str]]:
    start = None
    for index, word in enumerate(arguments):
        if word in ("-exec", "-execdir", "-ok"):
            start = index + 1
        elif word in (";", "+") and start is not None:
            yield _without_prefix(arguments[start:index])
            start = None
    if start is not None:
        yield _without_prefix(arguments[start:])


def _printed(command: SimpleCommand) -> Iterable[str]:
    """What a command is known to print: the words of `echo`, the here-document of `cat`."""
    words = _without_prefix(command.words)
    if not words or words[0] not in _PRINTERS:
        return []
    return command.inputs if words[0] == "cat" else ["\n".join(words[1:]) if words[0] == "printf" else _joined(words)]


def _joined(words: Sequence[str]) -> str:
    return " ".join(word for word in words[1:] if word not in ("-e", "-n", "-E"))


def _scripts(program: Program) -> list[str]:
    """Shell text that a shell is given."""
    if program.name == "eval":
        return [" ".join(program.arguments)]
    if program.name in ("su", "script", "watch"):
        return [word for before, word in zip(program.arguments, program.arguments[1:], strict=False) if before == "-c"]
    if program.name not in _SHELLS:
        return []
    for index, word in enumerate(program.arguments):
        if word.startswith("-") and not word.startswith("--") and "c" in word:
            return list(program.arguments[index + 1 : index + 2])
    return list(program.inputs) if not program.plain_arguments else []


def _code(program: Program) -> list[str]:
    """Program text that an interpreter is given."""
    inline = [
        following
        for word, following in zip(program.arguments, program.arguments[1:], strict=False)
        if word in _INLINE_CODE
    ]
    return inline or list(program.inputs)
