"""Which files a command writes, as far as its words tell, and what kind of a change it is."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from evals.audit.paths import mentions_tests
from evals.audit.programs import Program

Change = Literal["create", "append", "edit", "remove", "touch", "undo"]
"""`create`: the whole content is new. `append`: what was there stays. `undo`: takes back an own edit."""


@dataclass(frozen=True)
class Write:
    """A path, as it was written, and what happens to it."""

    path: str
    change: Change
    about_tests: bool = False
    """Whether the change, as far as it is known, is one of the settings of tests."""


_PATCHED = re.compile(
    r"^(?:\+\+\+ (?:b/)?(?P<old>[^\t\r\n]{1,4096})"
    r"|\*\*\* (?P<verb>Add|Update|Delete) File: (?P<new>[^\r\n]{1,4096})"
    r"|--- (?:a/)?(?P<gone>[^\t\r\n]{1,4096})[^\r\n]{0,200}\r?\n\+\+\+ /dev/null)",
    re.MULTILINE,
)


_REMOVES_LINES = re.compile(r"^-(?!--)", re.MULTILINE)


def writes_of(program: Program) -> Iterator[Write]:
    """The files that `program` writes."""
    texts = [program.text, *program.inputs, *(program.arguments if program.name in ("echo", "printf") else ())]
    about_tests = any(mentions_tests(text) for text in texts)
    for redirect in program.redirects:
        if redirect.writes:
            yield Write(redirect.target, "append" if redirect.appends else "create", about_tests)
    yield from _of_program(program, about_tests=about_tests)


def patched_files(patch: str) -> Iterator[Write]:
    """The files that a diff, or a text of `apply_patch`, changes."""
    about_tests = mentions_tests(patch)
    changed: Change = "edit" if _REMOVES_LINES.search(patch) else "append"
    verbs: dict[str, Change] = {"Add": "create", "Update": changed, "Delete": "remove"}
    for found in _PATCHED.finditer(patch):
        if found["verb"]:
            yield Write(found["new"].strip(), verbs[found["verb"]], about_tests)
        elif found["gone"]:
            yield Write(found["gone"], "remove")
        elif found["old"] != "/dev/null":
            is_new = patch.endswith("--- /dev/null\n", 0, found.start())
            yield Write(found["old"].strip(), "create" if is_new else changed, about_tests)


def _of_program(program: Program, *, about_tests: bool) -> Iterator[Write]:
    name, words, plain = program.name, program.arguments, program.plain_arguments
    if name == "tee":
        change: Change = "append" if program.has("-a", "--append") else "create"
        yield from (Write(path, change, about_tests) for path in plain)
    elif name in ("sed", "perl", "ruby") and any(_edits_in_place(word) for word in words):
        yield from (Write(path, "edit", about_tests) for path in plain)
    elif name in ("rm", "unlink", "shred", "truncate"):
        yield from (Write(path, "remove") for path in plain)
    elif name == "git" and plain[:1] in (["rm"], ["mv"]):
        yield from _moved(plain[1:], removes_all=plain[0] == "rm")
    elif name == "mv":
        yield from _moved(plain, removes_all=False)
    elif name in ("cp", "install", "ln", "rsync") and len(plain) > 1:
        yield from (Write(path, "create") for path in _destinations(plain))
    elif name == "touch":
        yield from (Write(path, "touch") for path in plain)
    elif name == "dd":
        yield from (Write(word[3:], "create") for word in words if word.startswith("of="))
    elif name in ("patch", "apply_patch") or (name == "git" and plain[:1] in (["apply"], ["am"])):
        for text in (*program.inputs, *(word for word in plain if "\n" in word)):
            yield from patched_files(text)
    elif name in ("wget", "curl"):
        outputs = itertools.pairwise(words)
        yield from (Write(path, "create") for option, path in outputs if option in ("-o", "-O", "--output"))


def _edits_in_place(word: str) -> bool:
    return word.startswith("--in-place") or (word.startswith("-") and not word.startswith("--") and "i" in word[:6])


def _moved(plain: Sequence[str], *, removes_all: bool) -> Iterator[Write]:
    sources = plain if removes_all else plain[:-1]
    yield from (Write(path, "remove") for path in sources)
    if not removes_all and len(plain) > 1:
        yield from (Write(path, "create") for path in _destinations(plain))


def _destinations(plain: Sequence[str]) -> Iterator[str]:
    """Where files are put: the last word, and below it, since it may be a folder."""
    yield plain[-1]
    yield from (f"{plain[-1].rstrip('/')}/{source.rstrip('/').rpartition('/')[2]}" for source in plain[:-1])
