"""Keeps the files that decide over a verdict as the task has them, whatever a patch, or what it installs, does to them.

They are read from the repository's history before anything of the patch has run, with git into an index of its own,
and kept on this machine. Putting them back takes nothing from the container but the means to remove files.
"""

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from evals.swebench.dataset import Row
from evals.swebench.path_lists import REMOVE, decode_lists, encode_paths
from evals.swebench.steering_files import Change, Steering, Task, is_of_an_installed_package, paths_of, steering
from evals.swebench.tasks import DIRECTORIES
from runners.docker_sandbox import DockerSandbox
from runners.owner import temporary_folder
from tools.sandbox import SandboxError

_TIMEOUT = 300.0
_LISTING_LIMIT = 64 * 1024 * 1024

_DOES_NOT_APPLY, _DAMAGED = 3, 4
# In: the test patch. Out: lists of names, each ended by an empty one. The files of the tests as they must be are left
# below `tests/`.
_SURVEY = """
set -e
git config --global --add safe.directory {repository}
mkdir -p {folder}/tests
cat >{folder}/test.patch
export GIT_INDEX_FILE={folder}/index
git read-tree {base}
git apply --cached --whitespace=nowarn {folder}/test.patch || exit {does_not_apply}
rm {folder}/test.patch
git diff --cached --name-only --no-renames --diff-filter=AM -z {base} |
  git checkout-index --prefix={folder}/tests/ -z --stdin
git diff --cached --name-only --no-renames -z {base} >{folder}/touched
unset GIT_INDEX_FILE
git rev-parse HEAD | tr '\\n' '\\0'; printf '\\0'
cat {folder}/touched; printf '\\0'
git ls-tree -r -z --name-only HEAD; printf '\\0'
git ls-files -z --others; printf '\\0'
git diff --name-only --no-renames -z HEAD
"""
# A git folder of our own for each look: what a patch writes into the repository's, such as another work tree, a filter
# or the bit of an index by which git looks away, would decide what is seen.
_LOOK = """
set -e
own=$(mktemp -d /var/tmp/XXXXXXXX)
trap 'rm -rf "$own"' EXIT
mkdir -p "$own/objects/info" "$own/refs/heads"
echo {repository}/.git/objects >"$own/objects/info/alternates"
echo ref: refs/heads/main >"$own/HEAD"
printf '[core]\\n\\trepositoryformatversion = 0\\n\\tfileMode = false\\n' >"$own/config"
export GIT_DIR=$own GIT_WORK_TREE={repository} GIT_INDEX_FILE=$own/index
export HOME=$own XDG_CONFIG_HOME=$own GIT_CONFIG_NOSYSTEM=1
cd {repository}
git read-tree {head} || exit {damaged}
"""
_CHANGES = """
git diff --name-only --no-renames -z {head}; printf '\\0'
git ls-files -z --others
"""
# In: paths that exist in the commit.
_EXTRACT = """
mkdir -p {folder}/steering
git checkout-index --prefix={folder}/steering/ -z --stdin
"""
# In: paths. Those that stand for files are left as they are now, not as the commit has them.
_COPY = """
set -e
mkdir -p {folder}/steering
while IFS= read -r -d '' path; do
  if [ -f "$path" ] || [ -L "$path" ]; then cp -a --parents -- "$path" {folder}/steering; fi
done
"""
# In: paths. Out: for each, what tells its content and mode from others.
_STATES = """
while IFS= read -r -d '' path; do
  if [ -L "$path" ]; then printf 'link %s' "$(readlink -- "$path" | sha256sum)"
  elif [ -f "$path" ]; then printf '%s %s' "$(stat -c %a -- "$path")" "$(sha256sum <"$path")"
  else printf none
  fi
  printf '\\0'
done
"""


@asynccontextmanager
async def protect(sandbox: DockerSandbox, row: Row, command: str) -> "AsyncGenerator[ProtectedFiles]":
    """The protected files of a task, read from a container in which nothing of a patch has run yet.

    `command` is the one that runs the tests. Raises SandboxError; BrokenTaskError for a test patch that does not fit.
    """
    with temporary_folder() as kept:
        protected = ProtectedFiles(sandbox, row, command, kept)
        await protected.survey()
        yield protected


@dataclass
class ProtectedFiles:
    """In this order: `survey`, the patch, `put_back_steering`, the step that installs, `put_back_all`."""

    sandbox: DockerSandbox
    row: Row
    command: str
    kept: Path
    """A folder on this machine with the files as they must be."""
    folder: str = field(default_factory=lambda: f"/var/tmp/{secrets.token_hex(8)}")  # noqa: S108 - a container's own
    steering: list[Steering] = field(default_factory=list[Steering])
    _head: str = ""
    _task: Task | None = None
    _has_begun: bool = False
    _tracked: frozenset[str] = frozenset()
    _untracked: frozenset[str] = frozenset()
    _of_the_image: dict[str, str] = field(default_factory=dict[str, str])
    """What could steer the tests and the image has changed without a commit: that is how the task has it."""

    async def survey(self) -> None:
        """See what there is before the patch. Raises SandboxError or BrokenTaskError."""
        values = {"repository": DIRECTORIES["swebench"], "folder": self.folder, "base": self.row.base_commit}
        script = _SURVEY.format(does_not_apply=_DOES_NOT_APPLY, **values)
        listed = await self._ask(script, self.row.test_patch.encode("utf-8", "surrogateescape"))
        (self._head,), tests, tracked, untracked, changed = listed
        self._tracked, self._untracked = frozenset(tracked), frozenset(untracked)
        self._task = Task(
            tests=frozenset(tests),
            solution=paths_of(self.row.patch),
            command=self.command,
            top_level=frozenset(path.split("/", 1)[0] for path in tracked),
        )
        await self._fetch("tests")
        found = steering([Change(path, is_new=False) for path in changed], self._task)
        if ours := sorted(one.path for one in found):
            await self._ask(f"cd {DIRECTORIES['swebench']}\n{_COPY.format(folder=self.folder)}", encode_paths(ours))
            await self._fetch("steering")
            self._of_the_image = await self._states(ours)

    async def put_back_steering(self) -> None:
        """Undo changes that can steer the tests, but for what the task's own solution changes too.

        Raises SandboxError.
        """
        await self._find_steering()
        await self._put_back([one.path for one in self._to_put_back()], "steering")

    async def put_back_all(self) -> None:
        """The same once more, with what came later, and the files of the tests. Raises SandboxError."""
        assert self._task is not None
        await self.put_back_steering()
        await self._put_back(sorted(self._task.tests), "tests")

    async def _find_steering(self) -> None:
        assert self._task is not None
        changed, others = await self._look(_CHANGES)
        paths = {*changed, *others} - self._untracked - await self._as_in_the_image()
        changes = [Change(path, is_new=path not in self._tracked) for path in paths]
        known_before = {one.path for one in self.steering}
        found = [one for one in steering(changes, self._task) if one.path not in known_before]
        if self._has_begun:  # by now the task's own test patch has changed these
            found = [one for one in found if one.path not in self._task.tests]
            found = [
                one for one in found if not is_of_an_installed_package(one.path)
            ]  # the step that installs makes them
        self._has_begun = True
        self.steering += found
        known = [
            one.path
            for one in found
            if one in self._to_put_back() and not one.is_new and one.path not in self._of_the_image
        ]
        if known:
            await self._look(_EXTRACT, encode_paths(known))
            await self._fetch("steering")

    def _to_put_back(self) -> list[Steering]:
        assert self._task is not None
        return [one for one in self.steering if not one.kept and one.path not in self._task.tests]

    async def _as_in_the_image(self) -> set[str]:
        now = await self._states(list(self._of_the_image))
        return {path for path, state in self._of_the_image.items() if now[path] == state}

    async def _states(self, paths: list[str]) -> dict[str, str]:
        if not paths:
            return {}
        script = f"cd {DIRECTORIES['swebench']}\n{_STATES}"
        (states,) = await self._ask(script, encode_paths(paths))
        return dict(zip(paths, states, strict=True))

    async def _put_back(self, paths: list[str], part: str) -> None:
        if not paths:
            return
        await self._ask(REMOVE, encode_paths(paths))
        source = self.kept / part
        if source.is_dir() and any(source.iterdir()):
            await self.sandbox.upload(source, DIRECTORIES["swebench"])

    async def _fetch(self, part: str) -> None:
        await self.sandbox.download(f"{self.folder}/{part}", self.kept / part)

    async def _look(self, script: str, stdin: bytes = b"") -> list[list[str]]:
        values = {"repository": DIRECTORIES["swebench"], "head": self._head, "folder": self.folder, "damaged": _DAMAGED}
        return await self._ask((_LOOK + script).format(**values), stdin)

    async def _ask(self, script: str, stdin: bytes = b"") -> list[list[str]]:
        """Run a script, and take what it says apart."""
        run = await self.sandbox.exec(script, timeout=_TIMEOUT, stdin=stdin, output_limit=_LISTING_LIMIT)
        if run.exit_code == _DOES_NOT_APPLY:
            message = f"the test patch of {self.row.instance_id} does not apply to its base commit"
            raise BrokenTaskError(message)
        if run.exit_code == _DAMAGED:
            message = "the repository is damaged, so that nobody can tell what in it has changed"
            raise DamagedRepositoryError(message)
        if run.exit_code != 0 or run.dropped:
            said = run.output.decode("utf-8", "replace").strip()[-500:]
            message = f"the files of the tests could not be kept (exit {run.exit_code}): {said}"
            raise SandboxError(message)
        return decode_lists(run.output)


class DamagedRepositoryError(Exception):
    """What was being tested has done away with the repository's objects."""


class BrokenTaskError(Exception):
    """A task's own files do not fit together."""
