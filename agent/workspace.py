"""The work on a git repository: the state that an agent found, and the diff against it.

Both states are written as trees with an index and an object folder of their own, so that nothing in the repository
changes: no index, no stash, no stray objects; and no file is ever deleted. What was there and untracked at the start
is in the first tree as well, so litter of a build that the sandbox itself ran is never taken for the agent's work.
What `agent.litter` knows as litter, and what git ignores, is in neither.
"""

import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from agent import litter
from agent.litter import LeftOut
from tools.sandbox import CommandResult, Sandbox, SandboxError

GIT_TIMEOUT = 300.0
PATCH_LIMIT = 64 * 1024 * 1024
"""Bytes of a patch that are taken; more is a mistake, such as a data set that was unpacked into the repository."""


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
        script = _SNAPSHOT.format(when="before", tries=_TRIES)
        result = await self._run(_KEEP_LITTER + script, await self._litter())
        return result.output.decode(errors="replace").split()[-1]

    async def diff(self, base: str) -> Diff:
        """The changes since the tree `base`. Raises WorkspaceError, PatchTooLargeError."""
        script = (_SNAPSHOT + _CHANGES).format(when="after", base=shlex.quote(base), tries=_TRIES)
        if (await self._run(_NEEDS_LITTER + script, may_exit=_NO_LITTER)).exit_code == _NO_LITTER:
            await self._run(_KEEP_LITTER + script, await self._litter())
        found = _Changes.parse(await self._names("changes"))
        made = await self._not_work(found.changed)
        without = "".join(f"{name}\0" for name in made).encode("utf-8", "surrogateescape")
        script = _DIFF.format(base=shlex.quote(base), head=found.head, limit=PATCH_LIMIT, too_large=_TOO_LARGE)
        if (await self._run(script, without, may_exit=_TOO_LARGE)).exit_code == _TOO_LARGE:
            raise PatchTooLargeError(await self._too_large(base, found, made))
        patch = await self.sandbox.read_bytes(f"{self._folder}/patch.diff")
        return Diff(patch, (*dict.fromkeys(made.values()), *map(litter.left_out_by_git, found.left_out)))

    async def _not_work(self, changed: Collection[str]) -> Mapping[str, LeftOut]:
        """What changed, and is nobody's work: what tools made, and what git ignored before somebody told it not to.

        A patch with the latter would fit nowhere: the file is there already, in every copy of the image.
        """
        made: dict[str, LeftOut] = {}
        if litter.may_be_made(changed):
            made |= litter.made_by_tools(changed, await self._names("tracked"), await self._names("present"))
        if changed:
            ignored = set(changed).intersection(await self._names("ignored-before"))
            made |= {
                name: LeftOut(name, litter.IGNORED_BEFORE) for name in ignored.difference(await self._names("forced"))
            }
        return made

    async def apply(self, patch: bytes) -> None:
        """Apply a patch to the files. Raises WorkspaceError when it does not fit; nothing is changed then."""
        result = await self.sandbox.exec(_APPLY, timeout=GIT_TIMEOUT, stdin=patch)
        if result.exit_code != 0:
            message = f"the patch does not apply to {self.sandbox.working_directory}: {_reason(result)}"
            raise WorkspaceError(message)

    @property
    def _folder(self) -> str:
        return f"{self.sandbox.scratch_directory}/git"

    async def _litter(self) -> bytes:
        """Write down what the repository tracks; what is litter in this one, as a file for git."""
        await self._run(_TRACKED, "".join(f"{rule.pattern}\n" for rule in litter.RULES).encode())
        top, scratch, *tracked = await self._names("tracked-litter")
        inside = scratch.startswith(f"{top.rstrip('/')}/")
        own = scratch.removeprefix(f"{top.rstrip('/')}/") if inside else None
        return litter.exclude_file(tracked, own).encode("utf-8", "surrogateescape")

    async def _too_large(self, base: str, found: "_Changes", made: Collection[str]) -> str:
        await self._run(_SIZES.format(base=shlex.quote(base), head=found.head))
        lines = [line.partition("\t") for line in await self._names("sizes")]
        sizes = {name: int(about.split()[3]) for about, _, name in lines if about.split()[1] == "blob"}
        changed = {name: sizes[name] for name in found.changed if name in sizes and name not in made}
        biggest = sorted(changed, key=lambda name: -changed[name])[:_NAMED]
        named = ", ".join(f"{printable(name)} ({changed[name]:,} bytes)" for name in biggest)
        return (
            f"the diff is larger than {PATCH_LIMIT:,} bytes, which is no patch of source code any more; "
            f"the biggest of the {len(changed):,} files in it: {named}"
        )

    async def _names(self, file: str) -> list[str]:
        """What a script has written, one NUL after each name."""
        data = await self.sandbox.read_bytes(f"{self._folder}/{file}")
        return data.decode("utf-8", "surrogateescape").removesuffix("\0").split("\0") if data else []

    async def _run(self, script: str, stdin: bytes = b"", may_exit: int = 0) -> CommandResult:
        command = f"folder={shlex.quote(self._folder)}\n{_GIT}{script}"
        result = await self.sandbox.exec(command, timeout=GIT_TIMEOUT, stdin=stdin)
        if result.timed_out:
            message = f"git did not finish within {GIT_TIMEOUT:g} seconds in {self.sandbox.working_directory}"
            raise SandboxError(message)
        if result.exit_code not in (0, may_exit):
            message = f"git failed in {self.sandbox.working_directory}: {_reason(result)}"
            raise WorkspaceError(message)
        return result


@dataclass(frozen=True)
class _Changes:
    """What a snapshot differs in from the first one."""

    head: str
    changed: list[str]
    left_out: list[str]

    @classmethod
    def parse(cls, names: list[str]) -> "_Changes":
        """Read what `_CHANGES` writes: four lists, each with an empty name behind it."""
        (head,), changed, before, after = _split(names)
        known = set(before)
        # Git names a folder in which everything is ignored beside what is in it.
        folders = {folder for name in after for folder in litter.folders_of(name)}
        new = [name for name in sorted(after) if name not in known and name.removesuffix("/") not in folders]
        return cls(head, changed, new)


def _split(names: list[str]) -> list[list[str]]:
    lists: list[list[str]] = [[]]
    for name in names:
        if name:
            lists[-1].append(name)
        else:
            lists.append([])
    return lists[:4]


def printable(name: str) -> str:
    """A name as a record can hold it, though its bytes be no UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


_NO_GIT = 127
_NO_LITTER, _TOO_LARGE = 20, 21
_TRIES = 10
_NAMED = 5
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
# untracked stays in sight when the agent makes git ignore it.
_TRACKED = """
mkdir -p "$folder/objects/info"
rm -f "$folder/index.lock"
cat >"$folder/rules"
index=$(git rev-parse --git-path index)
if [ ! -f "$folder/index" ] && ! cp -p "$index" "$folder/index" 2>/dev/null; then
  GIT_INDEX_FILE=$folder/index git read-tree HEAD
fi
export GIT_INDEX_FILE=$folder/index
git ls-files -z -c >"$folder/tracked"
{ printf '%s\\0' "$top" "$(cd "$folder/.." && pwd -P)"; git ls-files -z -c -i -X "$folder/rules"; } \\
  >"$folder/tracked-litter"
"""

_KEEP_LITTER = """
cat >"$folder/litter"
"""

_NEEDS_LITTER = f"""
[ -f "$folder/litter" ] && [ -f "$folder/index" ] || exit {_NO_LITTER}
"""

# What the agent itself forced into the repository's index counts, though git ignores it; litter that `git add --all`
# took in, because nobody told git to ignore it, does not. `add` ends with 1 for files that cannot be read: they stay
# out of both trees; it dies of a file that goes while it looks, as those of a program do that still runs. And
# `update-index` does of one name where a folder or a link now stands, so the others are told one by one.
_SNAPSHOT = """
rm -f "$folder/index.lock"
(cd "$(git rev-parse --git-path objects)" && pwd) >"$folder/objects/info/alternates"
excludes=$(git config --path core.excludesFile || printf %s "${{XDG_CONFIG_HOME:-$HOME/.config}}/git/ignore")
{{ cat "$folder/litter"; cat "$excludes" 2>/dev/null || true; }} >"$folder/exclude"
git ls-files -z -c -i --exclude-standard >"$folder/forced"
git() {{
  command git -c safe.directory='*' -c core.fsmonitor=false -c core.hooksPath=/dev/null -c core.splitIndex=false \\
    -c core.safecrlf=false -c core.excludesFile="$folder/exclude" -c core.compression=0 "$@"
}}
export GIT_INDEX_FILE=$folder/index GIT_OBJECT_DIRECTORY=$folder/objects
tries=0
until git add --all --ignore-errors . || [ $? = 1 ]; do
  tries=$((tries + 1))
  [ $tries -lt {tries} ] || exit
done
git update-index --add --remove -z --stdin <"$folder/forced" 2>/dev/null ||
  xargs -0 -n 1 git -c safe.directory='*' -c core.fsmonitor=false -c core.hooksPath=/dev/null \\
    -c core.splitIndex=false -c core.safecrlf=false update-index --add --remove -- <"$folder/forced" 2>/dev/null || true
git ls-files -z -o -i --exclude-standard --directory >"$folder/left-out-{when}"
[ {when} = after ] || git ls-files -z -o -i --exclude-standard >"$folder/ignored-before"
git write-tree >"$folder/tree"
cat "$folder/tree"
"""

_CHANGES = """
head=$(cat "$folder/tree")
[ -f "$folder/left-out-before" ] || cp "$folder/left-out-after" "$folder/left-out-before"
{{
  printf '%s\\0\\0' "$head"
  git diff-tree -r -z --name-only --no-renames {base} "$head"; printf '\\0'
  cat "$folder/left-out-before"; printf '\\0'
  cat "$folder/left-out-after"; printf '\\0'
}} >"$folder/changes"
git ls-files -z -c >"$folder/present"
[ -f "$folder/ignored-before" ] || : >"$folder/ignored-before"
"""

# What stdin names is taken out of both trees.
_DIFF = """
export GIT_OBJECT_DIRECTORY=$folder/objects
base={base} head={head}
cat >"$folder/made"
without() {{
  GIT_INDEX_FILE=$folder/without git read-tree "$1"
  GIT_INDEX_FILE=$folder/without git update-index --force-remove -z --stdin <"$folder/made"
  GIT_INDEX_FILE=$folder/without git write-tree
}}
if [ -s "$folder/made" ]; then
  base=$(without "$base")
  head=$(without "$head")
fi
git diff-tree -r -p --binary --full-index --no-renames --no-color --no-ext-diff \\
  --no-textconv --submodule=short --src-prefix=a/ --dst-prefix=b/ "$base" "$head" >"$folder/patch.diff"
[ "$(wc -c <"$folder/patch.diff")" -le {limit} ] || exit {too_large}
"""

_SIZES = """
export GIT_OBJECT_DIRECTORY=$folder/objects
{{ git ls-tree -r -l -z {base}; git ls-tree -r -l -z {head}; }} >"$folder/sizes"
"""

_APPLY = f"{_GIT}\ngit apply --binary --whitespace=nowarn -"


def _reason(result: CommandResult) -> str:
    """What git said was wrong: the first line that says so, else the last one."""
    lines = result.output.decode(errors="replace").strip().splitlines() or ["it says nothing"]
    return next((line for line in lines if line.startswith(("fatal: ", "error: "))), lines[-1])
