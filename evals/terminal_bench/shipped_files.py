"""What of a task's tests and solution is brought into a container: all but what its `.harborignore` files name.

They are written like `.gitignore`, and may lie in any folder of the task.
"""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from evals.terminal_bench.git_command import Git
from runners.owner import temporary_folder

RULES = ".harborignore"


@contextmanager
def shipped(folder: Path, task: Path) -> Generator[Path]:
    """A folder below a task's, or where it has rules a copy of the rest, which is gone afterwards.

    Raises OSError, and GitError for rules that git cannot read.
    """
    if not folder.is_dir() or not any(task.rglob(RULES)):
        yield folder
        return
    folder, task = folder.resolve(), task.resolve()
    with temporary_folder() as temporary:
        git = Git(temporary / "git", task)
        git.init()
        inside = folder.relative_to(task)
        listed = git("ls-files", "--others", f"--exclude-per-directory={RULES}", "-z", "--", f":(literal){inside}")
        copy = temporary / folder.name
        copy.mkdir()
        for path in filter(None, listed.split("\0")):
            target = copy / Path(path).relative_to(inside)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(task / path, target, follow_symlinks=False)
        yield copy
