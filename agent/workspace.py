"""The work on a git repository: the state that an agent found, and the diff against it.

Both states are written as trees with an index and an object folder of their own, so that nothing in the repository
changes: no index, no stash, no stray objects. What was there and untracked at the start is in the first tree as
well, so litter of a build that the sandbox itself ran is never taken for the agent's work.
"""

import shlex
from dataclasses import dataclass

from tools.sandbox import CommandResult, Sandbox, SandboxError

GIT_TIMEOUT = 300.0
PATCH_LIMIT = 4 * 1024 * 1024
"""Bytes of a patch that are taken; more is a mistake, such as a data set that was unpacked into the repository."""

LITTER = "__pycache__/\n*.py[cod]\n*.egg-info/\n.pytest_cache/\n.mypy_cache/\n.ruff_cache/\n.tox/\n.eggs/\n"
"""Untracked files that tools leave behind, in the syntax of a .gitignore; tracked ones are never left out."""


class WorkspaceError(Exception):
    """The folder is no git repository that can be worked on, or git failed in it."""


@dataclass(frozen=True)
class Workspace:
    """A git repository in a sandbox, at its working directory."""

    sandbox: Sandbox

    async def snapshot(self) -> str:
        """Record the state of all files, and return the tree's id. Raises WorkspaceError."""
        folder = f"{self.sandbox.scratch_directory}/git"
        await self.sandbox.write_bytes(f"{folder}/exclude", LITTER.encode())
        script = f"""
            set -e
            {self._environment(folder)}
            mkdir -p "$GIT_OBJECT_DIRECTORY"
            cp "$(git rev-parse --git-path index)" "$GIT_INDEX_FILE" 2>/dev/null || git read-tree HEAD
            git -c core.excludesFile={shlex.quote(folder)}/exclude add --all .
            git write-tree
        """
        result = await self._run(script)
        return result.output.decode().split()[-1]

    async def diff(self, base: str) -> bytes:
        """The changes since the tree `base`, as a patch for `git apply`. Raises WorkspaceError."""
        head = await self.snapshot()
        folder = f"{self.sandbox.scratch_directory}/git"
        flags = "--binary --no-color --no-ext-diff --no-textconv --no-renames --src-prefix=a/ --dst-prefix=b/"
        target = f"{folder}/patch.diff"
        script = f"""
            set -e
            {self._environment(folder)}
            git diff {flags} {shlex.quote(base)} {shlex.quote(head)} > {shlex.quote(target)}
        """
        await self._run(script)
        patch = await self.sandbox.read_bytes(target, limit=PATCH_LIMIT + 1)
        if len(patch) > PATCH_LIMIT:
            message = f"the diff is larger than {PATCH_LIMIT} bytes, which is no patch of source code any more"
            raise WorkspaceError(message)
        return patch

    async def check(self) -> None:
        """Make sure that this is a git repository with a commit. Raises WorkspaceError."""
        directory = self.sandbox.working_directory
        result = await self.sandbox.exec("git rev-parse --show-toplevel && git rev-parse HEAD", timeout=GIT_TIMEOUT)
        if result.exit_code == 127:
            message = f"git is not installed where {directory} is"
            raise WorkspaceError(message)
        if result.exit_code != 0:
            message = f"{directory} is not a git repository with a commit: {_last_line(result)}"
            raise WorkspaceError(message)

    async def apply(self, patch: bytes) -> None:
        """Apply a patch to the files. Raises WorkspaceError when it does not fit."""
        result = await self.sandbox.exec("git apply --binary -", timeout=GIT_TIMEOUT, stdin=patch)
        if result.exit_code != 0:
            message = f"the patch does not apply to {self.sandbox.working_directory}: {_last_line(result)}"
            raise WorkspaceError(message)

    def _environment(self, folder: str) -> str:
        quoted = shlex.quote(folder)
        return f"""
            export GIT_CONFIG_COUNT=3 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
            export GIT_CONFIG_KEY_1=core.autocrlf GIT_CONFIG_VALUE_1=false
            export GIT_CONFIG_KEY_2=core.fsmonitor GIT_CONFIG_VALUE_2=false
            cd "$(git rev-parse --show-toplevel)"
            objects=$(cd "$(git rev-parse --git-path objects)" && pwd)
            export GIT_ALTERNATE_OBJECT_DIRECTORIES=$objects GIT_OBJECT_DIRECTORY={quoted}/objects
            export GIT_INDEX_FILE={quoted}/index
        """

    async def _run(self, script: str) -> CommandResult:
        result = await self.sandbox.exec(script, timeout=GIT_TIMEOUT)
        if result.timed_out:
            message = f"git did not finish within {GIT_TIMEOUT:g} seconds in {self.sandbox.working_directory}"
            raise SandboxError(message)
        if result.exit_code != 0:
            message = f"git failed in {self.sandbox.working_directory}: {_last_line(result)}"
            raise WorkspaceError(message)
        return result


def _last_line(result: CommandResult) -> str:
    return (result.output.decode(errors="replace").strip().splitlines() or ["it says nothing"])[-1]
