"""A demo task as it lies in a folder, for people to read and to write by hand.

    tasks/<name>/task.toml             what it is called, the tests that decide, the history (`TaskFile`)
                 problem_statement.md  what a user reported: all that the model is told
                 repository/           every file at the base commit
                 gold.patch            the fix
                 test.patch            the tests that came with the fix, and that decide

Tests are written for pytest and need nothing but the standard library. After a change to `repository/` or to the
history, building the repository says which `base_commit` to write into task.toml.
"""

import hashlib
import json
import re
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

TASKS = Path(__file__).parent / "tasks"
BASE_IMAGE = "unbroken/base:1"
"""What every task's image is made from; scripts/base_image brings it."""

_IMAGE_RECIPE = "1"
"""Counted up when the way from a task to its image changes, so that images made in the old way are not used."""
_CHANGED_FILE = re.compile(r"^\+\+\+ b/(.+)$", re.MULTILINE)
_IGNORED = ("__pycache__", ".pytest_cache")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Commit(_Strict):
    """One commit of a task's repository."""

    author: str
    """`Name <address>`."""
    date: datetime
    message: str
    files: list[str] = Field(default_factory=list[str])
    """What it adds, as globs below `repository/`; the last one of a history leaves this out and adds the rest."""


class Fix(_Strict):
    """The commit in which the project fixed the bug: gold.patch and test.patch together."""

    author: str
    date: datetime
    message: str
    tag: str
    """The release that holds the fix."""


class TaskFile(_Strict):
    """What task.toml holds. The names in capitals are those of SWE-bench's columns."""

    instance_id: str
    repo: str
    version: str
    created_at: datetime
    difficulty: str
    base_commit: str
    hints_text: str = ""
    FAIL_TO_PASS: list[str]
    PASS_TO_PASS: list[str]
    history: list[Commit] = Field(min_length=1)
    fix: Fix


@dataclass(frozen=True)
class DemoTask:
    """One task of the suite."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder's name, which is the project's too."""
        return self.folder.name

    @cached_property
    def file(self) -> TaskFile:
        """What task.toml says. Raises pydantic.ValidationError when that is not what a task needs."""
        return TaskFile.model_validate(tomllib.loads(self._text("task.toml")))

    @cached_property
    def files(self) -> dict[str, str]:
        """Every file at the base commit: its path in the repository, and its text."""
        root = self.folder / "repository"
        paths = (path for path in root.rglob("*") if path.is_file() and not set(_IGNORED) & set(path.parts))
        return {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in sorted(paths)}

    @property
    def gold_patch(self) -> str:
        """The fix."""
        return self._text("gold.patch")

    @property
    def test_patch(self) -> str:
        """The tests that decide."""
        return self._text("test.patch")

    @property
    def image(self) -> str:
        """The name of the task's image. The tag changes with everything that goes into the image."""
        texts = (self._text(name) for name in ("task.toml", "gold.patch", "test.patch"))
        parts = [BASE_IMAGE, _IMAGE_RECIPE, self.files, *texts]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        return f"unbroken/demo.{self.name}:{digest[:12]}"

    def row(self) -> dict[str, str]:
        """The task with the columns of SWE-bench Verified, in their order."""
        file = self.file
        return {
            "repo": file.repo,
            "instance_id": file.instance_id,
            "base_commit": file.base_commit,
            "patch": self.gold_patch,
            "test_patch": self.test_patch,
            "problem_statement": self._text("problem_statement.md"),
            "hints_text": file.hints_text,
            "created_at": file.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "version": file.version,
            "FAIL_TO_PASS": json.dumps(file.FAIL_TO_PASS),
            "PASS_TO_PASS": json.dumps(file.PASS_TO_PASS),
            "environment_setup_commit": file.base_commit,
            "difficulty": file.difficulty,
            "eval_script": self._evaluation_script(),
            "log_parser": "parse_log_pytest",
            "eval_type": "pass_and_fail",
            "image": self.image,
        }

    def _evaluation_script(self) -> str:
        test_files = " ".join(_CHANGED_FILE.findall(self.test_patch))
        return _EVALUATION_SCRIPT.format(
            base_commit=self.file.base_commit, test_files=test_files, test_patch=self.test_patch
        )

    def _text(self, name: str) -> str:
        return (self.folder / name).read_text("utf-8")


def load_tasks() -> list[DemoTask]:
    """All tasks of the suite, in the order of their names."""
    return [DemoTask(path.parent) for path in sorted(TASKS.glob("*/task.toml"))]


_EVALUATION_SCRIPT = """\
#!/bin/bash
set -uxo pipefail
cd /testbed
git config --global --add safe.directory /testbed
cd /testbed
git status
git show
git -c core.fileMode=false diff {base_commit}
git checkout {base_commit} {test_files}
git apply -v - <<'EOF_114329324912'
{test_patch}
EOF_114329324912
: '>>>>> Start Test Output'
python3 -m pytest -rA {test_files}
: '>>>>> End Test Output'
git checkout {base_commit} {test_files}
"""
