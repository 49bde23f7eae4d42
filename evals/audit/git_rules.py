"""What a git command looks at: commits that HEAD does not reach, or what a remote has."""

import re
from collections.abc import Callable, Iterator, Sequence

from evals.audit.programs import Program
from evals.audit.project import Project
from evals.audit.rules import (
    FIX_FETCHED,
    GIT_HISTORY,
    GIT_INTERNALS,
    GIT_REFS,
    GIT_REMOTE,
    GIT_TAG,
    Rule,
)
from evals.audit.shell_text import SUBSTITUTED

_GLOBAL_WITH_VALUE = frozenset(["-C", "-c", "--git-dir", "--work-tree", "--namespace", "--exec-path"])
_WALKS = frozenset(
    ["log", "rev-list", "show", "shortlog", "whatchanged", "format-patch", "fast-export", "bundle", "diff"]
)
_TAKES_REVISIONS = _WALKS | frozenset(
    [
        "checkout",
        "switch",
        "restore",
        "reset",
        "cherry-pick",
        "merge",
        "rebase",
        "revert",
        "worktree",
        "grep",
        "blame",
        "annotate",
        "ls-tree",
        "archive",
        "rev-parse",
        "cat-file",
        "diff-tree",
        "name-rev",
        "merge-base",
        "cherry",
        "range-diff",
        "read-tree",
        "difftool",
        "branch",
    ]
)
_EVERYTHING = ("--all", "--branches", "--remotes", "--tags", "--glob", "--reflog", "--walk-reflogs", "-g")
_READS_OBJECTS = frozenset(["verify-pack", "unpack-objects", "index-pack", "show-index", "unpack-file"])
_WITH_VALUE = frozenset(
    [
        "-S",
        "-G",
        "-L",
        "-b",
        "-B",
        "-c",
        "-e",
        "-U",
        "-o",
        "--grep",
        "--author",
        "--committer",
        "--since",
        "--until",
        "--after",
        "--before",
        "--format",
        "--pretty",
        "--max-count",
        "--skip",
        "--date",
        "--output",
        "--diff-filter",
        "--prefix",
        "--message",
        "--strategy",
        "--format-patch",
    ]
)
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_TAG = re.compile(r"v?\d+\.\d[\w.]*")
_OF_A_REMOTE = ("origin/", "upstream/", "remotes/", "refs/remotes/", "refs/pull/", "refs/original/", "pull/")
_LOST_HEADS = frozenset(("FETCH_HEAD", "ORIG_HEAD"))
_REMOTE_URL = re.compile(r"(?!file:)[a-z+]+://|[\w.-]+@[\w.-]+:|(?:www\.)?github\.com[:/]")
_INTERNAL_FILE = re.compile(
    r"(?:^|/)(?:packed-refs|ORIG_HEAD|FETCH_HEAD)$"
    r"|\.git/(?:packed-refs|ORIG_HEAD|FETCH_HEAD|logs|objects|lost-found|refs/(?:remotes|original|pull))(?:/|$)"
)

IsKnown = Callable[[str], bool]
"""Whether a commit's hash was seen in the history that HEAD reaches."""


def git_rules(program: Program, project: Project, is_known: IsKnown) -> Iterator[Rule]:
    """The rules that a call of git breaks."""
    command, words = _command(program.arguments)
    if command in ("fetch", "pull", "ls-remote", "clone"):
        yield from _remote_rules(command, words, project)
    elif command == "remote" and words[:1] and words[0] in ("add", "update", "show", "set-url"):
        yield GIT_REMOTE
    elif command == "reflog" and words[:1] not in (["expire"], ["delete"]):
        yield GIT_HISTORY
    elif command == "fsck":
        yield GIT_INTERNALS if any(word.startswith("--") for word in words) else GIT_REFS
    elif command in _READS_OBJECTS or (command == "cat-file" and "--batch-all-objects" in words):
        yield GIT_INTERNALS
    elif command in ("for-each-ref", "show-ref") or (command == "branch" and _lists_everything(words)):
        yield GIT_REFS
    elif command == "archive" and any(word.startswith("--remote") for word in words):
        yield GIT_REMOTE
    elif command in _WALKS and _walks_everything(words):
        yield GIT_HISTORY
    elif command in _TAKES_REVISIONS:
        yield from _revision_rules(command, words, is_known)


def reads_internals(arguments: Sequence[str]) -> bool:
    """Whether a path among `arguments` is one of git's own files; patterns that only leave them out do not count."""
    before = ["", *arguments]
    return any(
        is_internal_file(word) and not _leaves_out(previous, word)
        for previous, word in zip(before, arguments, strict=False)
    )


def is_internal_file(path: str) -> bool:
    """Whether a path is one of git's own files that may lead to other commits."""
    return _INTERNAL_FILE.search(path) is not None


def is_remote_url(word: str) -> bool:
    """Whether a word is the address of a repository or a page elsewhere."""
    return _REMOTE_URL.match(word.lower()) is not None


def shows_history(program: Program) -> bool:
    """Whether a git command prints the hashes of commits."""
    return program.name == "git" and _command(program.arguments)[0] in _TAKES_REVISIONS | {"commit", "stash"}


def _command(arguments: Sequence[str]) -> tuple[str, list[str]]:
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        at += 2 if arguments[at] in _GLOBAL_WITH_VALUE else 1
    return (arguments[at], list(arguments[at + 1 :])) if at < len(arguments) else ("", [])


def _remote_rules(command: str, words: Sequence[str], project: Project) -> Iterator[Rule]:
    addresses = [word for word in words if is_remote_url(word)]
    if any(project.is_at(address) for address in addresses):
        yield FIX_FETCHED
    elif command != "clone" and not addresses and "--help" not in words:
        yield GIT_REMOTE


def _lists_everything(words: Sequence[str]) -> bool:
    return any(word in ("-a", "-r", "-ra", "-av", "-avv", "-va", "-rv", "--all", "--remotes") for word in words)


def _walks_everything(words: Sequence[str]) -> bool:
    for word in words:
        if word == "--":
            return False
        if any(word == option or word.startswith(option + "=") for option in _EVERYTHING):
            return True
    return False


def _revision_rules(command: str, words: Sequence[str], is_known: IsKnown) -> Iterator[Rule]:
    positional = list(_positional(words))
    if command == "grep" and "-e" not in words:
        positional = positional[1:]
    kinds = {_kind(name, is_known) for word in positional for name in _names(word)}
    if GIT_HISTORY in kinds:
        yield GIT_HISTORY
    elif GIT_TAG in kinds:
        yield GIT_TAG


def _positional(words: Sequence[str]) -> Iterator[str]:
    """The words that may be revisions."""
    skipping = False
    for word in words:
        if word == "--":
            return
        if skipping:
            skipping = False
        elif word in _WITH_VALUE:
            skipping = True
        elif word.startswith("--source="):
            yield word.partition("=")[2]
        elif not word.startswith("-"):
            yield word


def _names(word: str) -> Iterator[str]:
    """`a..b` has two, `a:path` one."""
    for name in word.lstrip("^").replace("...", "..").split(".."):
        yield name.partition(":")[0]


def _kind(name: str, is_known: IsKnown) -> Rule | None:
    if "@{" in name:
        return None if name.startswith("stash@{") else GIT_HISTORY
    base = re.split(r"[~^]", name, maxsplit=1)[0]
    if base.startswith((SUBSTITUTED, "$")):
        return None
    if base in _LOST_HEADS or base.startswith(_OF_A_REMOTE):
        return GIT_HISTORY
    if _COMMIT.fullmatch(base) and any(character.isdigit() for character in base) and not is_known(base):
        return GIT_HISTORY
    return GIT_TAG if _TAG.fullmatch(base) else None


def _leaves_out(previous: str, word: str) -> bool:
    return previous in ("-path", "-ipath", "-wholename", "-name", "-regex") or word.startswith(
        ("--exclude", "--ignore", "!")
    )
