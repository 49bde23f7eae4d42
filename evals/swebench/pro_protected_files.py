"""Keeps the files that decide over a verdict of SWE-bench Pro as the task has them, whatever a patch does to them.

The test files are read from the solution's commit, and what can steer the tests from the base commit, before anything
of the patch is in the container, and kept in a folder there: nothing of a patch runs before the tests do.
"""

import re
import shlex
from dataclasses import dataclass, field, replace

from evals.swebench.dataset import ProRow
from evals.swebench.path_lists import REMOVE, decode_lists, encode_paths
from evals.swebench.pro_entry_script import DIRECTORY, PATCH
from evals.swebench.pro_steering import pro_steering
from evals.swebench.steering_files import Change, Steering, Task, paths_of
from runners.docker_sandbox import DockerSandbox
from tools.sandbox import SandboxError

_FOLDER = "/tmp/protected"  # noqa: S108 - of a container of our own
_TIMEOUT = 300.0
_LISTING_LIMIT = 64 * 1024 * 1024
_COMMIT = re.compile(r"[0-9a-f]{7,40}")

_NO_COMMIT = 3
# Out: the files of the base, and those of the tests that the solution's commit has, which are left in a folder.
_SURVEY = """
set -e
git ls-tree -r -z --name-only {base}; printf '\\0'
if [ {commit} ]; then
  git cat-file -e {commit}^{{commit}} 2>/dev/null || exit {no_commit}
  mkdir -p {folder}/tests
  git ls-tree -r -z --name-only {commit} -- {paths} >{folder}/names
  export GIT_INDEX_FILE={folder}/index
  git read-tree {commit}
  git checkout-index --prefix={folder}/tests/ -z --stdin <{folder}/names
  cat {folder}/names
fi
"""
# Out: what the patch adds or changes, with two numbers in front of each; and what it changes or removes.
_CHANGES = """
git apply --numstat -z {patch} 2>/dev/null; printf '\\0'
git -c core.fileMode=false diff --name-only --no-renames -z {base} 2>/dev/null
"""
# Out: what the patch names, with two numbers in front of each; and what git tracks.
_NAMED = """
git apply --numstat -z {patch} 2>/dev/null; printf '\\0'
git ls-files -z
"""
# In: paths. Those that stand for files are left in a folder. Out: the same.
_KEEP = """
set -e
while IFS= read -r -d '' path; do
  if [ -f "$path" ] || [ -L "$path" ]; then
    mkdir -p "$(dirname "{folder}/untracked/$path")"
    cp -a "./$path" "{folder}/untracked/$path"
    printf '%s\\0' "$path"
  fi
done
"""
# In: paths that the base has. Their files are left in a folder.
_EXTRACT = """
set -e
mkdir -p {folder}/steering
export GIT_INDEX_FILE={folder}/index
git read-tree {base}
git checkout-index --prefix={folder}/steering/ -z --stdin
"""
# Links and modes as they are. Only what is in the folder: its own mode would become the repository's.
_PUT_IN_PLACE = """
cd {folder}/{part} && find . -mindepth 1 -maxdepth 1 -print0 | xargs -0 -r tar -cf - -- | tar -xpf - -C {directory}
"""


@dataclass(frozen=True)
class Checkout:
    """What the last line of a `before_repo_set_cmd` takes from where."""

    commit: str
    paths: list[str]


def checkout_of(command: str) -> Checkout | None:
    """The files and the commit of `git checkout COMMIT -- FILES`; None for any other command."""
    try:
        words = shlex.split(command.strip().split("\n")[-1])
    except ValueError:
        return None
    if words[:2] != ["git", "checkout"] or words[3:4] != ["--"] or not words[4:] or not _COMMIT.fullmatch(words[2]):
        return None
    return Checkout(words[2], words[4:])


class BrokenProTaskError(Exception):
    """The image of a task does not have what the task needs."""


@dataclass
class ProProtectedFiles:
    """In this order: `survey`, `keep_untracked`, the patch, `put_back_steering`, `put_back_tests`.

    All raise SandboxError.
    """

    sandbox: DockerSandbox
    row: ProRow
    steering: list[Steering] = field(default_factory=list[Steering])
    _tests: frozenset[str] = frozenset()
    _tracked: frozenset[str] = frozenset()
    _untracked: frozenset[str] = frozenset()

    async def survey(self) -> None:
        """See what the task has, before the patch is there. Raises BrokenProTaskError."""
        wanted = checkout_of(self.row.before_repo_set_cmd)
        commit, paths = (wanted.commit, shlex.join(wanted.paths)) if wanted else ("", "")
        script = _SURVEY.format(base=self._base, commit=commit, paths=paths, folder=_FOLDER, no_commit=_NO_COMMIT)
        tracked, tests = await self._ask(script)
        self._tests, self._tracked = frozenset(tests), frozenset(tracked)

    async def keep_untracked(self, patch: bytes) -> None:
        """Keep the files that `patch`, which is in the container, names and git does not track: runners are among them.

        No diff of git's tells what becomes of them.
        """
        numbered, index = await self._ask(_NAMED.format(patch=PATCH))
        # The old name of what is moved is in no count.
        named = {*paths_of(patch.decode("utf-8", "surrogateescape")), *map(_counted, numbered)}
        others = named - {*index, *self._tracked, *self._tests, *paths_of(self.row.patch)}
        inside = [path for path in others if not path.startswith("/") and ".." not in path.split("/")]
        kept, *_ = await self._ask(_KEEP.format(folder=_FOLDER), encode_paths(inside))
        self._untracked = frozenset(kept)

    async def put_back_steering(self) -> None:
        """Undo what of the patch can steer the tests, but for what the solution changes too."""
        numbered, changed = await self._ask(_CHANGES.format(patch=PATCH, base=self._base))
        paths = {*changed, *map(_counted, numbered)}
        top_level = frozenset(path.split("/", 1)[0] for path in self._tracked)
        task = Task(self._tests, paths_of(self.row.patch), command="", top_level=top_level)
        changes = [Change(path, is_new=path not in self._tracked) for path in paths]
        found = pro_steering(changes, task, self.row.repo_language)
        self.steering = [replace(one, kept=one.kept and one.path not in self._untracked) for one in found]
        undone = [one for one in self.steering if not one.kept and one.path not in self._tests]
        if known := [one.path for one in undone if not one.is_new]:
            await self._ask(_EXTRACT.format(folder=_FOLDER, base=self._base), encode_paths(known))
        await self._replace([one.path for one in undone], "steering" if known else None)
        await self._replace(sorted(self._untracked), "untracked" if self._untracked else None)
        flagged = {one.path for one in self.steering}
        why = "a file of the image that git does not track"
        others = sorted(self._untracked - flagged)
        self.steering += [Steering(path, why, is_new=False, kept=False) for path in others]

    async def put_back_tests(self) -> None:
        """Put the files of the tests in place, and leave nothing of this behind."""
        await self._replace(sorted(self._tests), "tests" if self._tests else None)
        await self._ask(f"rm -rf {_FOLDER}")

    @property
    def _base(self) -> str:
        return shlex.quote(self.row.base_commit)

    async def _replace(self, paths: list[str], part: str | None) -> None:
        if paths:
            await self._ask(REMOVE, encode_paths(paths))
        if part:
            await self._ask(_PUT_IN_PLACE.format(folder=_FOLDER, part=part, directory=DIRECTORY))

    async def _ask(self, script: str, stdin: bytes = b"") -> list[list[str]]:
        """Run a script, and take the lists that it prints apart: names, with an empty one between two lists."""
        run = await self.sandbox.exec(script, timeout=_TIMEOUT, stdin=stdin, output_limit=_LISTING_LIMIT)
        if run.exit_code == _NO_COMMIT:
            message = f"the image {self.row.image} does not have the commit from which the task takes its test files"
            raise BrokenProTaskError(message)
        if run.exit_code != 0 or run.dropped:
            said = run.output.decode("utf-8", "replace").strip()[-500:]
            message = f"the files of the tests could not be kept (exit {run.exit_code}): {said}"
            raise SandboxError(message)
        return decode_lists(run.output)


def _counted(line: str) -> str:
    return line.split("\t", 2)[-1]
