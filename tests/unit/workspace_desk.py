"""What the tests of the workspace share: a change between two snapshots, and what lies in a folder."""

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from real_things import GitRepository

from agent.workspace import Diff, Workspace
from runners.local_sandbox import LocalSandbox

Make = Callable[..., GitRepository]
Change = Callable[[GitRepository], object]


@asynccontextmanager
async def workspace_in(folder: Path) -> AsyncGenerator[Workspace]:
    sandbox = LocalSandbox(folder)
    try:
        yield Workspace(sandbox)
    finally:
        await sandbox.close()


async def whole_diff_of(repository: GitRepository, change: Change) -> Diff:
    async with workspace_in(repository.path) as workspace:
        base = await workspace.snapshot()
        change(repository)
        return await workspace.diff(base)


async def diff_of(repository: GitRepository, change: Change) -> bytes:
    return (await whole_diff_of(repository, change)).patch


def names(diff: Diff) -> dict[str, str]:
    """What is not in the diff, and why."""
    return {left.name: left.reason for left in diff.left_out}


def changed(patch: bytes) -> list[str]:
    """The names in the patch's headers, as git spells them."""
    return [line.split(" b/", 1)[-1] for line in patch.decode().splitlines() if line.startswith("diff --git ")]


async def apply(patch: bytes, folder: Path) -> None:
    async with workspace_in(folder) as workspace:
        await workspace.apply(patch)


def files(folder: Path) -> dict[str, tuple[str, bool, bytes]]:
    """Every file below `folder` but git's own: its kind, whether it can be executed, its content."""
    found: dict[str, tuple[str, bool, bytes]] = {}
    for path in folder.rglob("*"):
        name = os.fsdecode(os.fsencode(path.relative_to(folder)))
        if name.split("/")[0] == ".git":
            continue
        if path.is_symlink():
            found[name] = ("link", False, os.fsencode(path.readlink()))
        elif path.is_file():
            found[name] = ("file", os.access(path, os.X_OK) and path.stat().st_mode & 0o100 != 0, path.read_bytes())
    return found
