"""How a person writes where tasks come from; no network is asked."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

GIT = "git+"
GIT_FORM = "git+URL@COMMIT:PATH"
_NAMED = re.compile(r"[A-Za-z0-9][\w.-]*@[\w.-]+", re.ASCII)
_REVISION = re.compile(r"[\w.+/][\w.+/-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_SCHEMES = ("https", "http", "ssh", "git", "file")
_SHORT_SSH = re.compile(r"([\w.-]+@)?[\w.-]+:(?!//)\S*", re.ASCII)


class TaskSourceError(ValueError):
    """Tasks cannot be had from where they were asked for; the message says why, and what to do."""


class AbsentCommitError(TaskSourceError):
    """A repository has no such commit."""


class AbsentFolderError(TaskSourceError):
    """A repository has no such folder at the commit."""


@dataclass(frozen=True)
class FolderSource:
    """A task, or a directory of tasks."""

    path: str


@dataclass(frozen=True)
class RegistrySource:
    """A dataset of a `registry.json`; the only one that it has, where none is named."""

    file: str
    dataset: str | None


@dataclass(frozen=True)
class NamedSource:
    """A dataset that is known by name."""

    name: str
    version: str


@dataclass(frozen=True)
class GitSource:
    """A folder of a repository, as it is at a commit, or at the end of a branch."""

    url: str
    revision: str
    path: str
    """Below the repository, with slashes between; empty for the repository itself."""

    def __str__(self) -> str:
        return f"{GIT}{self.url}@{self.revision}" + (f":{self.path}" if self.path else "")


Source = FolderSource | RegistrySource | NamedSource | GitSource


def parse_source(text: str) -> Source:
    """Read a source of tasks. Raises TaskSourceError."""
    if not text or "\0" in text:
        raise TaskSourceError(
            "it names no source of tasks: give a folder, a registry.json, NAME@VERSION or " + GIT_FORM
        )
    if text.startswith(GIT):
        return _git_source(text)
    file, mark, dataset = text.rpartition("#")
    if mark and file.endswith(".json"):
        return RegistrySource(file, dataset or None)
    if text.endswith(".json"):
        return RegistrySource(text, None)
    if _NAMED.fullmatch(text):
        name, _, version = text.partition("@")
        return NamedSource(name, version)
    return FolderSource(text)


def is_task_source(text: str) -> bool:
    """Whether this can only mean tasks in this format, and no dataset of another benchmark."""
    from evals.terminal_bench.named_datasets import is_known

    file, mark, _ = text.rpartition("#")
    return text.startswith(GIT) or (bool(mark) and file.endswith(".json")) or is_known(text) or Path(text).is_dir()


def is_whole_commit(text: str) -> bool:
    """Whether this is all of a commit's id, so that it can only mean one thing."""
    return bool(_COMMIT.fullmatch(text))


def path_below(path: str) -> str:
    """A path below some folder, without what means nothing in it. Raises TaskSourceError for one that leads out."""
    parts = PurePosixPath(path).parts
    if ".." in parts or path.startswith("/") or any(ord(character) < 32 for character in path):
        message = f"{path!r} is no path within a repository: write one as folder/folder, without .. and no / before it"
        raise TaskSourceError(message)
    return "/".join(parts)


def check_url(url: str) -> str:
    """A repository's URL, as it was given. Raises TaskSourceError for one that git may not be asked for."""
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if mark and scheme in _SCHEMES and slash and path.strip("/"):
        user, _, address = host.rpartition("@")
        if ":" in user or (user and scheme.startswith("http")):
            message = (
                f"{scheme}://{address}/{path} is given with a user or a password, which would stand in the results: "
                "leave it out, and let git ask a credential helper, or use ssh"
            )
            raise TaskSourceError(message)
        return url
    if not mark and "::" not in url and url[:1] != "-" and ("/" in url or url == "." or _SHORT_SSH.fullmatch(url)):
        return url
    kinds = "https://, ssh:// or file://, as host:path, or as the path of a clone with a slash in it"
    message = f"{url!r} is no repository's URL: write it with {kinds}"
    raise TaskSourceError(message)


def check_revision(revision: str) -> str:
    """A commit, or the name of a branch or a tag, as it was given. Raises TaskSourceError for what is none of them."""
    if _REVISION.fullmatch(revision):
        return revision
    message = f"{revision!r} is neither a commit nor the name of a branch or a tag"
    raise TaskSourceError(message)


def _git_source(text: str) -> GitSource:
    url, mark, rest = text.removeprefix(GIT).rpartition("@")
    revision, _, path = rest.partition(":")
    if not mark or not url or not revision:
        message = f"{text!r} names no commit: write {GIT_FORM}, where :PATH may be left out"
        raise TaskSourceError(message)
    try:
        check_url(url)
    except TaskSourceError as error:
        message = f"{error}\nA source in a repository is {GIT_FORM}, and the last @ stands before the commit"
        raise TaskSourceError(message) from error
    return GitSource(url, check_revision(revision), path_below(path))
