r"""The tools `grep` and `glob`: search in files by ripgrep's rules, with one command and the same answer everywhere.

Hidden, binary and ignored files are skipped, results are sorted by path, and what is too long is cut, with the whole of
it kept in a file in the sandbox. A sandbox without `rg` is searched with git, find and grep: see `tools.search_script`.
"""

import itertools
import re
from pathlib import PurePosixPath
from typing import Literal

from pydantic import Field

from tools.output import CHARACTER_LIMIT, JOINER, cut_middle, neutralise, restore
from tools.parameters import Parameters
from tools.sandbox import OutputListener, Sandbox
from tools.search_answers import Findings, SearchError, first_lines, grouped, read_findings, shown_name
from tools.search_classes import PatternError
from tools.search_glob import GlobError, PathFilter, read_glob
from tools.search_pattern import Case, SearchPattern, read_pattern
from tools.search_script import SearchCommand
from tools.tool import Access, ToolResult

TIMEOUT = 120.0
"""Seconds that a search may take."""
DEFAULT_LIMIT = 100
LARGEST_LIMIT = 2_000
LARGEST_CONTEXT = 50

_UNSEARCHABLE = re.compile("[\0\ud800-\udfff]")
_SKIPPED = "Hidden and binary files, and those that .gitignore names, are not searched."


class GrepParameters(Parameters):
    """What a call of `grep` takes."""

    pattern: str = Field(description=r"A regular expression in ripgrep's syntax, such as `def \w+_test\(`.")
    path: str = Field(default="", description="The directory or file to search; the working directory unless given.")
    glob: str = Field(
        default="",
        description="Only files whose path, relative to `path`, matches: `*.py`, `src/**/*.{js,ts}`; `!` in front "
        "excludes.",
    )
    output: Literal["content", "files", "count"] = Field(
        default="content",
        description="`content` (unless given): lines with their numbers; `files`: names only; `count`: lines per file.",
    )
    case: Case = Field(
        default="sensitive",
        description="`sensitive` unless given, `insensitive`, or `smart`: sensitive if the pattern has a capital.",
    )
    context: int = Field(
        default=0, ge=0, le=LARGEST_CONTEXT, description="Lines to show before and after each; 0 unless given."
    )
    limit: int = Field(
        default=DEFAULT_LIMIT,
        ge=1,
        le=LARGEST_LIMIT,
        description=f"The most results to show, lines or files; {DEFAULT_LIMIT} unless given.",
    )


class GlobParameters(Parameters):
    """What a call of `glob` takes."""

    pattern: str = Field(
        description="What the path, relative to `path`, has to match: `*.py` (at any depth), `src/**/test_*.{js,ts}`."
    )
    path: str = Field(default="", description="The directory to look in; the working directory unless given.")
    limit: int = Field(
        default=DEFAULT_LIMIT,
        ge=1,
        le=LARGEST_LIMIT,
        description=f"The most paths to show; {DEFAULT_LIMIT} unless given.",
    )


class _Searcher:
    """What both tools share: a place, one command, and a text that is cut if it is long."""

    name: str

    def __init__(self) -> None:
        self._kept_numbers = itertools.count(1)

    async def _findings(
        self, sandbox: Sandbox, path: str, chosen: PathFilter | None, pattern: SearchPattern | None, context: int | None
    ) -> Findings:
        root = _root(path, sandbox)
        command = SearchCommand(root, chosen, pattern, context).text()
        result = await sandbox.exec(command, timeout=TIMEOUT)
        if result.timed_out:
            message = f"The search took longer than {TIMEOUT:g} seconds and was ended. Narrow it down with `path`."
            raise SearchError(message)
        return read_findings(result.output, root)

    async def _answer(self, sandbox: Sandbox, findings: Findings, summary: str, shown: str, whole: str) -> ToolResult:
        """The result, where `shown` is what `limit` lets through of the `whole`."""
        summary += _remark(findings)
        if shown == whole and len(shown) <= CHARACTER_LIMIT and findings.is_whole:
            return ToolResult(neutralise(f"{summary}\n{shown}" if shown else summary))
        path = f"{sandbox.scratch_directory}/{self.name}-{next(self._kept_numbers)}.txt"
        try:
            await sandbox.write_bytes(path, (whole + "\n").encode())
            kept = f"all of it is in {path}" if findings.is_whole else f"the first part of it is in {path}"
        except OSError as error:
            kept = f"the whole could not be kept: {error.strerror}"
        shown = cut_middle(shown, "[{count} characters cut here]")
        return ToolResult(neutralise(f"{summary}; {kept}\n{shown}"))


class Grep(_Searcher):
    """Searches the content of files."""

    name = "grep"
    description = (
        "Search the content of files, as ripgrep does: hidden and binary files, and those that .gitignore names, are "
        "skipped, and results are sorted by path. The pattern is matched within lines."
    )
    parameters = GrepParameters

    def access(self, arguments: GrepParameters) -> Access:  # noqa: ARG002
        """Say that nothing is changed."""
        return "read"

    async def __call__(
        self,
        arguments: GrepParameters,
        sandbox: Sandbox,
        on_output: OutputListener | None = None,  # noqa: ARG002 - it is sorted before anything can be shown
    ) -> ToolResult:
        """Search, or explain what is wrong with the pattern, the glob or the path."""
        written = restore(arguments.pattern).replace(f"<{JOINER}", "<")  # with escapes it is no token any more
        context = arguments.context if arguments.output == "content" else None
        try:
            pattern = read_pattern(written, arguments.case)
            chosen = read_glob(restore(arguments.glob)) if arguments.glob else None
            findings = await self._findings(sandbox, arguments.path, chosen, pattern, context)
        except PatternError as error:
            return _refusal(f"The pattern {_quoted(written)} is no regular expression: {error}.")
        except GlobError as error:
            return _refusal(f"The glob {_quoted(arguments.glob)} cannot be read: {error}.")
        except SearchError as error:
            return _refusal(str(error))
        if not findings.files:
            return ToolResult(neutralise(_nothing_found(written, findings)))
        prefix = _prefix(arguments.path, sandbox, findings)
        if arguments.output == "content":
            shown = grouped(first_lines(findings.content, arguments.limit, arguments.context), prefix)
            whole = grouped(findings.content, prefix, whole=True)
            summary = _counted(findings.lines, "matching line", arguments.limit)
            summary += f" in {_counted(findings.files, 'file')}"
        else:
            lines = [
                prefix + shown_name(count.name) + (f":{count.lines}" if arguments.output == "count" else "")
                for count in findings.counts
            ]
            shown, whole = "\n".join(lines[: arguments.limit]), "\n".join(lines)
            summary = (
                f"{_counted(findings.files, 'file', arguments.limit)} with {_counted(findings.lines, 'matching line')}"
            )
        return await self._answer(sandbox, findings, summary, shown, whole)


class Glob(_Searcher):
    """Lists files by their paths."""

    name = "glob"
    description = (
        "List files whose paths match a pattern, sorted by path. Hidden files and those that .gitignore names are "
        "skipped. A pattern without a slash matches names at any depth, one with a slash paths from `path` on."
    )
    parameters = GlobParameters

    def access(self, arguments: GlobParameters) -> Access:  # noqa: ARG002
        """Say that nothing is changed."""
        return "read"

    async def __call__(
        self,
        arguments: GlobParameters,
        sandbox: Sandbox,
        on_output: OutputListener | None = None,  # noqa: ARG002
    ) -> ToolResult:
        """List, or explain what is wrong with the pattern or the path."""
        try:
            findings = await self._findings(sandbox, arguments.path, read_glob(restore(arguments.pattern)), None, None)
        except GlobError as error:
            return _refusal(f"The pattern {_quoted(arguments.pattern)} cannot be read: {error}.")
        except SearchError as error:
            return _refusal(str(error))
        if findings.of_file:
            return _refusal(f"{restore(arguments.path)} is a file; `path` is the directory to look in.")
        if not findings.files:
            skipped = "Hidden files and those that .gitignore names are skipped."
            return ToolResult(f"No files match.{_remark(findings)} {skipped}")
        prefix = _prefix(arguments.path, sandbox, findings)
        lines = [prefix + shown_name(count.name) for count in findings.counts]
        summary = _counted(findings.files, "file", arguments.limit)
        return await self._answer(sandbox, findings, summary, "\n".join(lines[: arguments.limit]), "\n".join(lines))


def _root(path: str, sandbox: Sandbox) -> str:
    path = restore(path)
    if _UNSEARCHABLE.search(path):
        message = f"There is no path {path!a}."
        raise SearchError(message)
    return str(PurePosixPath(sandbox.working_directory, path))


def _prefix(path: str, sandbox: Sandbox, findings: Findings) -> str:
    """What stands before each name: paths are relative to the working directory, where they are inside it."""
    root = PurePosixPath(_root(path, sandbox))
    directory = root.parent if findings.of_file else root
    if directory.is_relative_to(sandbox.working_directory) and ".." not in directory.parts:
        directory = directory.relative_to(sandbox.working_directory)
    shown = str(directory)
    return "" if shown == "." else shown if shown.endswith("/") else f"{shown}/"


def _counted(count: int, what: str, limit: int | None = None) -> str:
    counted = f"{count} {what}" if count == 1 else f"{count} {what}s"
    return f"The first {limit} of {counted}" if limit is not None and count > limit else counted


def _remark(findings: Findings) -> str:
    return " (without git here, .gitignore was not read)" if findings.lister == "blind" else ""


def _nothing_found(pattern: str, findings: Findings) -> str:
    said = f"No lines match.{_remark(findings)}"
    if not findings.of_file:
        said += f" {_SKIPPED}"
    if r"\|" in pattern:
        said += r" In this syntax `\|` is a bar itself; alternatives are written `a|b`."
    return said


def _quoted(text: str) -> str:
    return f"`{text}`" if len(text) <= 200 else f"`{text[:200]}…`"


def _refusal(sentence: str) -> ToolResult:
    return ToolResult(neutralise(sentence.encode("utf-8", "backslashreplace").decode()), is_error=True)
