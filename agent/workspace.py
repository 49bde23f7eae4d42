"""The work on a git repository: the state that an agent found, and the diff against it.

Both states are written as trees with an index and an object folder of their own, so that nothing in the repository
changes: no index, no stash, no stray objects; and no file is ever deleted. What was there and untracked at the start
is in the first tree as well, so litter of a build that the sandbox itself ran is never taken for the agent's work.
What `agent.litter` knows as litter, and what git ignores, is in neither.

The first state's objects are kept beside the repository, and what else was found on this side, so that an agent may
remove the repository's own data or our folder, and leaves a diff all the same.
"""

import asyncio
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from agent import litter, patch_scripts, workspace_scripts
from agent.litter import LeftOut
from agent.workspace_scripts import LOST, NO_GIT, TOO_LARGE
from agent.workspace_state import Changes, Found, Start, names_in
from tools.sandbox import CommandResult, Sandbox, SandboxError

GIT_TIMEOUT = 300.0
PATCH_LIMIT = 64 * 1024 * 1024
"""Bytes of a patch that are taken; more is a mistake, such as a data set that was unpacked into the repository."""
OWN_OBJECTS_LIMIT = 8 * 1024 * 1024
"""Bytes of a first state's objects, but for the repository's own, that are kept on this side."""


class WorkspaceError(Exception):
    """Git failed in the repository, or the repository is no longer one."""


class PatchTooLargeError(WorkspaceError):
    """The diff is no patch of source code any more. The message names the biggest files in it."""


class NoRepositoryError(WorkspaceError, ValueError):
    """The folder is no git repository that can be worked on; the message says why, and what to do."""


@dataclass(frozen=True)
class Checkout:
    """The repository that a folder belongs to."""

    top: str
    """Its top folder, absolute."""
    prefix: str
    """Where in it the folder lies: empty for the top itself, else with a slash at its end."""
    self_contained: bool
    """Whether all of git's data lie in its `.git` folder: not so for a linked worktree, a submodule, a shared clone."""


@dataclass(frozen=True)
class Diff:
    """The work since a snapshot."""

    patch: bytes
    """What `git apply` takes."""
    left_out: tuple[LeftOut, ...] = ()
    """What came up since then and is not in the patch: litter, and what git ignores."""
    repository_is_gone: bool = False
    """Whether the repository's own data have been removed or broken since then."""


@dataclass
class Workspace:
    """A git repository in a sandbox, at its working directory or above it."""

    sandbox: Sandbox
    _found: Found | None = field(default=None, init=False, repr=False)

    async def check(self) -> Checkout:
        """Find the repository, and make sure that it has a commit. Raises NoRepositoryError, WorkspaceError."""
        directory = self.sandbox.working_directory
        result = await self.sandbox.exec(workspace_scripts.CHECK, timeout=GIT_TIMEOUT)
        if result.exit_code == 0:
            top, prefix, self_contained = result.output.decode("utf-8", "surrogateescape").split("\0")[:3]
            return Checkout(top, prefix, self_contained == "yes")
        if result.exit_code == NO_GIT:
            message = f"git is not installed where {directory} is"
            raise WorkspaceError(message)
        reason = _PROBLEMS.get(result.exit_code or 0, "")
        if not reason or "dubious ownership" in result.output.decode(errors="replace"):
            reason = f"cannot be used: {_reason(result)}"
        message = f"{directory} {reason}"
        raise NoRepositoryError(message)

    async def snapshot(self) -> str:
        """Record the state of all files, and return the tree's id. Raises WorkspaceError."""
        await self._run(workspace_scripts.START, {}, "".join(f"{rule.pattern}\n" for rule in litter.RULES).encode())
        start = await asyncio.to_thread(Start.parse, await self._read("start"))
        await self._run(workspace_scripts.FIRST, start.place.variables(), start.litter)
        found = await asyncio.to_thread(Found.parse, start, await self._read("found"))
        found = replace(found, ignored=await self._read("ignored"))
        if found.packed:
            own = await self._read("own.pack", limit=OWN_OBJECTS_LIMIT + 1)
            found = replace(found, own_objects=own if len(own) <= OWN_OBJECTS_LIMIT else b"")
        self._found = found
        return found.tree

    async def diff(self, base: str) -> Diff:
        """The changes since the tree `base`, the last snapshot. Raises WorkspaceError, PatchTooLargeError."""
        found = self._found
        if found is None or found.tree != base:
            message = f"{base} is not the last snapshot of {self.sandbox.working_directory}"
            raise WorkspaceError(message)
        try:
            return await self._diff(found)
        except PatchTooLargeError:
            raise
        except WorkspaceError as error:
            raise await self._explained(found, error) from error

    async def apply(self, patch: bytes) -> None:
        """Apply a patch to the files. Raises WorkspaceError when it does not fit; nothing is changed then."""
        result = await self.sandbox.exec(workspace_scripts.APPLY, timeout=GIT_TIMEOUT, stdin=patch)
        if result.exit_code != 0:
            message = f"the patch does not apply to {self.sandbox.working_directory}: {_reason(result)}"
            raise WorkspaceError(message)

    async def _diff(self, found: Found) -> Diff:
        variables = {**found.start.place.variables(), "base": found.tree}
        if (await self._run(workspace_scripts.LATER, variables, found.start.litter, LOST)).exit_code == LOST:
            await self._run(workspace_scripts.RESTORE, variables, found.own_objects)
            await self._run(workspace_scripts.LATER, variables, found.start.litter)
        changes = await asyncio.to_thread(Changes.parse, found, await self._read("found"))
        present = await self._read("present") if litter.may_be_made(changes.changed) else b""
        made = await asyncio.to_thread(_not_work, found, changes, present)
        variables |= {"tree": changes.tree, "limit": str(PATCH_LIMIT)}
        without = "".join(f"{name}\0" for name in made).encode("utf-8", "surrogateescape")
        patch = await self._patch(patch_scripts.DIFF, variables, without)
        if patch is not None:
            work = {name: letter for name, letter in changes.changed.items() if name not in made}
            attributes = await asyncio.to_thread(patch_scripts.attributes_of_binaries, patch, work)
            if attributes:
                stdin = attributes.encode("utf-8", "surrogateescape")
                patch = await self._patch(patch_scripts.DIFF_AGAIN, variables, stdin)
        if patch is None:
            raise PatchTooLargeError(await self._too_large(variables, changes, made))
        left_out = (*dict.fromkeys(made.values()), *changes.left_out)
        return Diff(patch, left_out, changes.repository_is_gone)

    async def _patch(self, script: str, variables: Mapping[str, str], stdin: bytes) -> bytes | None:
        """The patch that a script writes; None when it is too large."""
        if (await self._run(script, variables, stdin, TOO_LARGE)).exit_code == TOO_LARGE:
            return None
        return await self._read("patch.diff")

    async def _explained(self, found: Found, error: WorkspaceError) -> WorkspaceError:
        """The error, or what it came of: that there is nothing left to compare with."""
        try:
            await self._run(workspace_scripts.IS_WHOLE, {**found.start.place.variables(), "base": found.tree})
        except WorkspaceError:
            copy = (
                f"no copy of them could be had at the beginning ({workspace_scripts.WHY_NOTHING})"
                if found.kept == "nothing"
                else f"the copy of them in {self._folder} is gone as well"
            )
            message = (
                f"the work in {found.start.place.top} cannot be told from what was there before: the repository's "
                f"objects of that time were removed, and {copy}"
            )
            return WorkspaceError(message)
        return error

    async def _too_large(self, variables: Mapping[str, str], changes: Changes, made: Collection[str]) -> str:
        await self._run(workspace_scripts.SIZES, variables)
        lines = [line.partition("\t") for line in names_in(await self._read("sizes"))]
        sizes = {name: int(about.split()[3]) for about, _, name in lines if about.split()[1] == "blob"}
        changed = {name: sizes[name] for name in changes.changed if name in sizes and name not in made}
        biggest = sorted(changed, key=lambda name: -changed[name])[:_NAMED]
        named = ", ".join(f"{printable(name)} ({changed[name]:,} bytes)" for name in biggest)
        return (
            f"the diff is larger than {PATCH_LIMIT:,} bytes, which is no patch of source code any more; "
            f"the biggest of the {len(changed):,} files in it: {named}"
        )

    @property
    def _folder(self) -> str:
        return f"{self.sandbox.scratch_directory}/git"

    async def _read(self, file: str, limit: int | None = None) -> bytes:
        """What a script has written."""
        return await self.sandbox.read_bytes(f"{self._folder}/{file}", limit=limit)

    async def _run(
        self, script: str, variables: Mapping[str, str], stdin: bytes = b"", may_exit: int = 0
    ) -> CommandResult:
        values = {"folder": self._folder, **variables}
        command = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()) + script
        result = await self.sandbox.exec(command, timeout=GIT_TIMEOUT, stdin=stdin)
        if result.timed_out:
            message = f"git did not finish within {GIT_TIMEOUT:g} seconds in {self.sandbox.working_directory}"
            raise SandboxError(message)
        if result.exit_code not in (0, may_exit):
            message = f"git failed in {self.sandbox.working_directory}: {_reason(result)}"
            raise WorkspaceError(message)
        return result


def _not_work(found: Found, changes: Changes, present: bytes) -> Mapping[str, LeftOut]:
    """What changed, and is nobody's work: what tools made, and what git ignored before somebody told it not to.

    A patch with the latter would fit nowhere: the file is there already, in every copy of the image.
    """
    made: dict[str, LeftOut] = {}
    if litter.may_be_made(changes.changed):
        made |= litter.made_by_tools(changes.changed, names_in(found.start.tracked), names_in(present))
    ignored = found.was_ignored(changes.changed) - changes.forced
    return made | {name: LeftOut(name, litter.IGNORED_BEFORE) for name in ignored}


def printable(name: str) -> str:
    """A name as a record can hold it, though its bytes be no UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


_NAMED = 5
_PROBLEMS = {
    10: "is not a git repository: run `git init` in it and commit, or give another folder",
    11: "is not a working tree but the inside of a git repository, or a bare one: give a clone with files",
    12: "is a git repository without a commit: make a first one, so that there is something to compare with",
    13: "is part of a git repository that tracks nothing in it: give the repository's own folder, or `git init` here",
    14: "is a git repository whose objects are missing: `git fsck` says which",
}


def _reason(result: CommandResult) -> str:
    """What git said was wrong: the first line that says so, else the last one."""
    lines = result.output.decode(errors="replace").strip().splitlines() or ["it says nothing"]
    return next((line for line in lines if line.startswith(("fatal: ", "error: "))), lines[-1])
