"""A demo task's git repository: the same commits, byte for byte, on every machine.

It is left as the official images leave theirs, which is as `git clone` and `git reset --hard BASE` do: the branch is
at the base commit, and the future is still there to be found, in a tag, in `origin/main`, in the reflog, in the pack.
"""

import os
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

from evals.demo.task import Commit, DemoTask, Fix


class RepositoryError(Exception):
    """The repository cannot be built; the message says why."""


def build_repository(task: DemoTask, target: Path) -> None:
    """Build the task's repository in `target`, an empty folder. Raises RepositoryError."""
    git = _Git(target)
    git("init", "--quiet", "--template=", "--initial-branch=main", "--object-format=sha1")
    git("remote", "add", "origin", f"https://git.example/{task.file.repo}.git")
    _write_history(git, task)
    _write_future(git, task)
    git("repack", "-adq")
    git("reset", "--quiet", "--hard", task.file.base_commit)


def _write_history(git: "_Git", task: DemoTask) -> None:
    left = dict(task.files)
    for commit in task.file.history:
        globs = commit.files or ["*"]
        for path in [path for path in left if any(fnmatchcase(path, glob) for glob in globs)]:
            git.write(path, left.pop(path))
        git("add", "--all")
        git.commit(commit)
    if left:
        message = f"{task.folder / 'task.toml'}: no commit of the history adds {', '.join(left)}"
        raise RepositoryError(message)
    base = git("rev-parse", "HEAD")
    if base != task.file.base_commit:
        message = (
            f"{task.folder / 'task.toml'} gives {task.file.base_commit} as base_commit, "
            f"but with the files and the history as they are now it is {base}: write that instead."
        )
        raise RepositoryError(message)


def _write_future(git: "_Git", task: DemoTask) -> None:
    for patch in (task.gold_patch, task.test_patch):
        git("apply", "--index", "-", stdin=patch)
    git.commit(task.file.fix)
    git("tag", task.file.fix.tag)
    git("update-ref", "refs/remotes/origin/main", "HEAD")


class _Git:
    """Runs git in one folder, deaf to every setting of the machine and of the person who runs it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.devnull,  # where git looks for ignored files and attributes
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "LC_ALL": "C.UTF-8",
        }

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> str:
        command = ["git", "-c", "core.autocrlf=false", "-c", "core.fileMode=false", *arguments]
        try:
            done = subprocess.run(
                command,
                cwd=self._folder,
                env=self._environment | environment,
                input=stdin.encode(),
                capture_output=True,
                check=True,
            )
        except FileNotFoundError as error:
            raise RepositoryError("git is needed to build the repositories, and it is not installed") from error
        except subprocess.CalledProcessError as error:
            message = f"git {' '.join(arguments)} failed: {error.stderr.decode(errors='replace').strip()}"
            raise RepositoryError(message) from error
        return done.stdout.decode().strip()

    def write(self, path: str, text: str) -> None:
        file = self._folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())

    def commit(self, commit: Commit | Fix) -> None:
        name, _, address = commit.author.removesuffix(">").partition(" <")
        date = commit.date.isoformat()
        self(
            "commit", "--quiet", "--message", commit.message,
            GIT_AUTHOR_NAME=name, GIT_AUTHOR_EMAIL=address, GIT_AUTHOR_DATE=date,
            GIT_COMMITTER_NAME=name, GIT_COMMITTER_EMAIL=address, GIT_COMMITTER_DATE=date,
        )  # fmt: skip
