"""The work on a git repository: the state that an agent found, and the diff against it.

Both states are written as trees with an index and an object folder of their own, so that nothing in the repository
changes: no index, no stash, no stray objects. What was there and untracked at the start is in the first tree as
well, so litter of a build that the sandbox itself ran is never taken for the agent's work.
"""

import shlex
from dataclasses import dataclass

from tools.sandbox import CommandResult, Sandbox, SandboxError

GIT_TIMEOUT = 300.0
PATCH_LIMIT = 64 * 1024 * 1024
"""Bytes of a patch that are taken; more is a mistake, such as a data set that was unpacked into the repository."""

LITTER = (
    "__pycache__/",
    "*.py[cod]",
    "*.egg-info/",
    ".pytest_cache/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".tox/",
    ".eggs/",
)
"""Untracked files that tools leave behind, in the syntax of a .gitignore; tracked ones are never left out."""


class WorkspaceError(Exception):
    """Git failed in the repository, or the repository is no longer one."""


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
class Workspace:
    """A git repository in a sandbox, at its working directory or above it."""

    sandbox: Sandbox

    async def check(self) -> Checkout:
        """Find the repository, and make sure that it has a commit. Raises NoRepositoryError, WorkspaceError."""
        directory = self.sandbox.working_directory
        result = await self.sandbox.exec(_CHECK, timeout=GIT_TIMEOUT)
        if result.exit_code == 0:
            top, prefix, self_contained = result.output.decode("utf-8", "surrogateescape").split("\0")[:3]
            return Checkout(top, prefix, self_contained == "yes")
        if result.exit_code == _NO_GIT:
            message = f"git is not installed where {directory} is"
            raise WorkspaceError(message)
        reason = _PROBLEMS.get(result.exit_code or 0, "")
        if not reason or "dubious ownership" in result.output.decode(errors="replace"):
            reason = f"cannot be used: {_reason(result)}"
        message = f"{directory} {reason}"
        raise NoRepositoryError(message)

    async def snapshot(self) -> str:
        """Record the state of all files, and return the tree's id. Raises WorkspaceError."""
        result = await self._run(_SNAPSHOT.format(litter=shlex.join(LITTER)))
        return result.output.decode(errors="replace").split()[-1]

    async def diff(self, base: str) -> bytes:
        """The changes since the tree `base`, as a patch for `git apply`. Raises WorkspaceError."""
        head = await self.snapshot()
        await self._run(_DIFF.format(base=shlex.quote(base), head=shlex.quote(head)))
        patch = await self.sandbox.read_bytes(f"{self._folder}/patch.diff", limit=PATCH_LIMIT + 1)
        if len(patch) > PATCH_LIMIT:
            message = f"the diff is larger than {PATCH_LIMIT} bytes, which is no patch of source code any more"
            raise WorkspaceError(message)
        return patch

    async def apply(self, patch: bytes) -> None:
        """Apply a patch to the files. Raises WorkspaceError when it does not fit; nothing is changed then."""
        result = await self.sandbox.exec(_APPLY, timeout=GIT_TIMEOUT, stdin=patch)
        if result.exit_code != 0:
            message = f"the patch does not apply to {self.sandbox.working_directory}: {_reason(result)}"
            raise WorkspaceError(message)

    @property
    def _folder(self) -> str:
        return f"{self.sandbox.scratch_directory}/git"

    async def _run(self, script: str) -> CommandResult:
        result = await self.sandbox.exec(f"folder={shlex.quote(self._folder)}\n{_GIT}{script}", timeout=GIT_TIMEOUT)
        if result.timed_out:
            message = f"git did not finish within {GIT_TIMEOUT:g} seconds in {self.sandbox.working_directory}"
            raise SandboxError(message)
        if result.exit_code != 0:
            message = f"git failed in {self.sandbox.working_directory}: {_reason(result)}"
            raise WorkspaceError(message)
        return result


_NO_GIT = 127
_PROBLEMS = {
    10: "is not a git repository: run `git init` in it and commit, or give another folder",
    11: "is not a working tree but the inside of a git repository, or a bare one: give a clone with files",
    12: "is a git repository without a commit: make a first one, so that there is something to compare with",
    13: "is part of a git repository that tracks nothing in it: give the repository's own folder, or `git init` here",
    14: "is a git repository whose objects are missing: `git fsck` says which",
}

_CHECK = """
export LC_ALL=C
command -v git >/dev/null || exit 127
inside=$(git rev-parse --is-inside-work-tree) || exit 10
[ "$inside" = true ] || exit 11
git rev-parse -q --verify HEAD >/dev/null || exit 12
git rev-parse -q --verify 'HEAD^{tree}' >/dev/null 2>&1 || exit 14
top=$(git rev-parse --show-toplevel) && prefix=$(git rev-parse --show-prefix) || exit
[ -z "$prefix" ] || [ -n "$(git ls-files -z . | head -c 1 | tr '\\0' x)" ] || exit 13
whole=no
[ -d "$top/.git" ] && [ ! -L "$top/.git" ] && [ ! -s "$top/.git/objects/info/alternates" ] && whole=yes
printf '%s\\0' "$top" "$prefix" "$whole"
"""

# The repository's own settings hold, so that files are compared as its owner's git compares them, but for those
# with which git would write into the repository, start a program, or refuse.
_GIT = """
set -e
git() {
  command git -c safe.directory='*' -c core.fsmonitor=false -c core.hooksPath=/dev/null -c core.splitIndex=false \\
    -c core.safecrlf=false "$@"
}
top=$(git rev-parse --show-toplevel)
cd "$top"
"""

# The first snapshot starts from the repository's index, which knows the files by their times (`cp -p` keeps its own,
# by which git tells what it may trust); the later ones start from the one before, so that a file that was there
# untracked stays in sight when the agent makes git ignore it. What the agent itself forced into the repository's
# index counts, ignored or not. `add` ends with 1 for files that cannot be read: they stay out of both trees.
_SNAPSHOT = """
mkdir -p "$folder/objects/info"
rm -f "$folder/index.lock"
(cd "$(git rev-parse --git-path objects)" && pwd) >"$folder/objects/info/alternates"
excludes=$(git config --path core.excludesFile || printf %s "${{XDG_CONFIG_HOME:-$HOME/.config}}/git/ignore")
{{ printf '%s\\n' {litter}; cat "$excludes" 2>/dev/null || true; }} >"$folder/exclude"
git ls-files -z -c -i --exclude-standard -X "$folder/exclude" >"$folder/forced"
index=$(git rev-parse --git-path index)
if [ ! -f "$folder/index" ] && ! cp -p "$index" "$folder/index" 2>/dev/null; then
  GIT_INDEX_FILE=$folder/index git read-tree HEAD
fi
export GIT_INDEX_FILE=$folder/index GIT_OBJECT_DIRECTORY=$folder/objects
git -c core.excludesFile="$folder/exclude" -c core.compression=0 add --all --ignore-errors . || [ $? = 1 ]
git update-index --add --remove -z --stdin <"$folder/forced"
git write-tree
"""

_DIFF = """
GIT_OBJECT_DIRECTORY=$folder/objects git diff-tree -r -p --binary --full-index --no-renames --no-color --no-ext-diff \\
  --no-textconv --submodule=short --src-prefix=a/ --dst-prefix=b/ {base} {head} >"$folder/patch.diff"
"""

_APPLY = f"{_GIT}\ngit apply --binary --whitespace=nowarn -"


def _reason(result: CommandResult) -> str:
    """What git said was wrong: the first line that says so, else the last one."""
    lines = result.output.decode(errors="replace").strip().splitlines() or ["it says nothing"]
    return next((line for line in lines if line.startswith(("fatal: ", "error: "))), lines[-1])
