"""What the tests of the search tools share: a sandbox with one set of programs, and a way to ask both tools."""

import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from runners.local_sandbox import LocalSandbox
from tools.sandbox import Sandbox
from tools.search import Glob, Grep
from tools.tool import Tool, ToolResult

Programs = Literal["rg", "grep", "busybox"]

SKIPPED = "Hidden and binary files, and those that .gitignore names, are not searched."
COUNTED_IN_BYTES = frozenset({r"caf. \d+$", r"\bcafé\b", r"^\w{4} ", "[^\\x00-\\x7f]", "CAFÉ", "?.md"})
"""What a BusyBox without a locale does not find, since an `é` has two bytes."""
NO_LINES = f"No lines match. {SKIPPED}"

_COMMON = ("cut", "head", "sed", "sort", "tr", "uniq", "xargs", "find", "cat", "grep", "sh")


def programs_folder(programs: Programs, folder: Path, *, git: bool = True) -> Path:
    """A folder for PATH: with ripgrep, with what Debian has without it, or with BusyBox. Skips what is not here."""
    folder.mkdir()
    needed = ["bash", *(["git"] if git else []), *(["rg"] if programs == "rg" else [])]
    if programs == "busybox":
        needed.append("busybox")
    for name in needed if programs == "busybox" else [*needed, *_COMMON]:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"{name} is not installed")
        (folder / name).symlink_to(found)
    if programs == "busybox":
        for name in _COMMON:
            (folder / name).symlink_to(folder / "busybox")
    return folder


@dataclass(frozen=True)
class SearchDesk:
    """Both tools in one sandbox."""

    sandbox: Sandbox
    directory: Path

    async def grep(self, pattern: str, **arguments: Any) -> str:
        return (await self.ask(Grep(), pattern=pattern, **arguments)).text

    async def glob(self, pattern: str, **arguments: Any) -> str:
        return (await self.ask(Glob(), pattern=pattern, **arguments)).text

    async def ask(self, tool: Tool[Any], **arguments: Any) -> ToolResult:
        return await tool(tool.parameters.model_validate(arguments), self.sandbox)

    def write(self, name: str, content: str | bytes) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


@asynccontextmanager
async def search_desk(directory: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[SearchDesk]:
    """A desk in `directory`, whose commands find the programs in `path` alone."""
    directory.mkdir(exist_ok=True)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(path))
        patched.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        sandbox = LocalSandbox(directory)
    try:
        with monkeypatch.context() as patched:
            patched.setenv("PATH", str(path))  # by which `bash` itself is found
            yield SearchDesk(sandbox, directory)
    finally:
        await sandbox.close()
