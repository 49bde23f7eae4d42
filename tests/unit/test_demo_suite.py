"""The bundled demo suite: its rows, its repositories, and what the two scripted backends make of it. No Docker here."""

import asyncio
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.scripted.script import Reply, Script, load_script
from evals.demo.repository import RepositoryError, build_repository
from evals.demo.suite import REPOSITORY, SCRIPTS, load_rows
from evals.demo.task import DemoTask, load_tasks
from runners.local_sandbox import LocalSandbox
from tools.tool import ToolResult
from tools.toolset import make_toolset

COLUMNS = [
    "repo", "instance_id", "base_commit", "patch", "test_patch", "problem_statement", "hints_text",
    "created_at", "version", "FAIL_TO_PASS", "PASS_TO_PASS", "environment_setup_commit", "difficulty",
    "eval_script", "log_parser", "eval_type", "image",
]  # fmt: skip

RESOLVED_BY = {
    "calends": {"careful"},
    "encore": {"hasty"},
    "lapse": {"careful", "hasty"},
    "larder": {"careful"},
    "stencil": {"careful", "hasty"},
    "tally": set[str](),
}

IN_IMAGES = {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""No bytecode files that are stale within their second, and no plugins: both as in the images."""

TASKS = {task.name: task for task in load_tasks()}
each_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
each_script = pytest.mark.parametrize("script_name", SCRIPTS)


# Rows


def test_six_rows_with_the_columns_of_swe_bench() -> None:
    rows = load_rows()
    assert [list(row) for row in rows] == [COLUMNS] * 6
    assert all(type(value) is str for row in rows for value in row.values())
    for column in ("instance_id", "base_commit", "image"):
        assert len({row[column] for row in rows}) == 6


@each_task
def test_a_row_is_well_formed(task: DemoTask) -> None:
    row = task.row()
    assert re.fullmatch(rf"demo__{task.name}-\d+", row["instance_id"])
    assert re.fullmatch(r"[0-9a-f]{40}", row["base_commit"])
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["created_at"])
    assert re.fullmatch(rf"unbroken/demo\.{task.name}:[0-9a-f]{{12}}", row["image"])
    assert json.loads(row["FAIL_TO_PASS"])
    assert json.loads(row["PASS_TO_PASS"])
    assert not set(json.loads(row["FAIL_TO_PASS"])) & set(json.loads(row["PASS_TO_PASS"]))
    assert "tests/" not in row["patch"]


@each_task
def test_swebench_reads_the_evaluation_script(task: DemoTask) -> None:
    from swebench.harness.utils import make_test_spec  # type: ignore[reportMissingTypeStubs]

    script: str = make_test_spec(task.row()).eval_script
    assert script.startswith("#!/bin/bash\nset -uxo pipefail\ncd /testbed\n")
    tests = r"tests/\S+\.py( tests/\S+\.py)*"
    assert re.search(rf"^python3 -m pytest -rA {tests}\nSWEBENCH_TEST_EXIT_CODE=\$\?$", script, re.MULTILINE)


def test_the_image_is_another_one_when_what_goes_into_it_changes(tmp_path: Path) -> None:
    task = copy_of(TASKS["lapse"], tmp_path)
    before = task.image
    assert before == TASKS["lapse"].image
    edit(task.folder / "repository" / "README.md", "# lapse", "# Lapse")
    assert DemoTask(task.folder).image != before


# Repositories


@each_task
def test_the_base_commit_is_the_same_everywhere(
    task: DemoTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[core]\nautocrlf = true\n[commit]\ngpgsign = true\n[user]\nname = Somebody\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody")
    monkeypatch.setenv("GIT_DIR", str(home / "elsewhere"))
    umask = os.umask(0o077)
    try:
        repository = built(task, tmp_path / "repository")
    finally:
        os.umask(umask)
    assert git(repository, "rev-parse", "HEAD") == task.file.base_commit
    assert git(repository, "branch", "--show-current") == "main"
    assert git(repository, "status", "--porcelain") == ""
    assert int(git(repository, "rev-list", "--count", "HEAD")) == len(task.file.history) >= 2


@each_task
def test_the_fix_is_in_the_future_of_the_repository(task: DemoTask, tmp_path: Path) -> None:
    repository = built(task, tmp_path)
    for name in (task.file.fix.tag, "origin/main", "ORIG_HEAD", "HEAD@{1}"):
        assert git(repository, "rev-parse", f"{name}^{{commit}}^") == task.file.base_commit
    changed = git(repository, "diff", "--name-only", "HEAD", "origin/main").splitlines()
    in_patches = re.findall(r"^\+\+\+ b/(.+)$", task.gold_patch + task.test_patch, re.MULTILINE)
    assert changed == sorted(in_patches)
    assert any(not path.startswith("tests/") for path in changed)


def test_a_repository_that_was_changed_says_which_base_commit_to_write(tmp_path: Path) -> None:
    task = copy_of(TASKS["lapse"], tmp_path / "task")
    edit(task.folder / "repository" / "README.md", "# lapse", "# Lapse")
    with pytest.raises(RepositoryError, match=r"now it is [0-9a-f]{40}: write that instead") as caught:
        built(task, tmp_path / "first")
    now = re.findall(r"[0-9a-f]{40}", str(caught.value))[1]
    edit(task.folder / "task.toml", task.file.base_commit, now)
    assert git(built(DemoTask(task.folder), tmp_path / "second"), "rev-parse", "HEAD") == now


# The tests that decide


@each_task
def test_the_fix_makes_the_tests_pass_that_fail_without_it(task: DemoTask, tmp_path: Path) -> None:
    to_pass = set(task.file.PASS_TO_PASS)
    assert passing_after(task, "", built(task, tmp_path / "base")) == to_pass
    assert passing_after(task, task.gold_patch, built(task, tmp_path / "fixed")) == {*to_pass, *task.file.FAIL_TO_PASS}


# The scripts


@each_script
def test_a_script_has_one_conversation_for_each_task(script_name: str) -> None:
    script = load_script(SCRIPTS[script_name])
    assert script.scripted == script_name
    statements = [row["problem_statement"] for row in load_rows()]
    matches = [[each.matches(statement) for statement in statements] for each in script.conversations]
    assert [sum(row) for row in matches] == [1] * 6
    assert [sum(column) for column in zip(*matches, strict=True)] == [1] * 6


@each_script
@each_task
def test_a_script_ends_with_words_alone(task: DemoTask, script_name: str) -> None:
    replies = replies_to(task, load_script(SCRIPTS[script_name]))
    assert all(reply.tool_calls for reply in replies[:-1])
    assert not replies[-1].tool_calls
    assert replies[-1].content


@dataclass(frozen=True)
class Call:
    """One call of a script, and what came of it."""

    tool: str
    arguments: dict[str, Any]
    result: ToolResult

    @property
    def is_test_run(self) -> bool:
        return "pytest" in self.arguments["command"]


@dataclass(frozen=True)
class Work:
    """What a script did on a task, in a repository of its own."""

    calls: list[Call]
    patch: str
    new_files: str


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Callable[[DemoTask, str], Work]:
    """Play a script's calls on a task, once, on a machine made like the images."""
    programs = tmp_path_factory.mktemp("programs")
    (programs / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python3").chmod(0o755)
    surroundings = {"PATH": f"{programs}:{os.environ['PATH']}", **IN_IMAGES}

    @functools.cache
    def play_once(task: DemoTask, script_name: str) -> Work:
        repository = built(task, tmp_path_factory.mktemp(script_name))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in surroundings.items():
                patch.setenv(name, value)
            calls = asyncio.run(play(task, script_name, repository))
        return Work(
            calls=calls,
            patch=git(repository, "diff", "HEAD", strip=False),
            new_files=git(repository, "ls-files", "--others", "--exclude-standard"),
        )

    return play_once


Player = Callable[[DemoTask, str], Work]


@each_script
@each_task
def test_who_resolves_what(task: DemoTask, script_name: str, work: Player, tmp_path: Path) -> None:
    done = work(task, script_name)
    assert done.new_files == ""
    passed = passing_after(task, done.patch, built(task, tmp_path))
    resolved = passed.issuperset([*task.file.FAIL_TO_PASS, *task.file.PASS_TO_PASS])
    assert resolved == (script_name in RESOLVED_BY[task.name])


def test_careful_breaks_a_test_of_encore_that_passed_before(work: Player, tmp_path: Path) -> None:
    task = TASKS["encore"]
    passed = passing_after(task, work(task, "careful").patch, built(task, tmp_path))
    assert passed.issuperset(task.file.FAIL_TO_PASS)
    assert set(task.file.PASS_TO_PASS) - passed == {"tests/test_retry.py::test_the_last_exception_comes_through"}


@each_task
def test_careful_saw_the_tests_pass(task: DemoTask, work: Player) -> None:
    exit_codes = [call.result.exit_code for call in work(task, "careful").calls if call.is_test_run]
    assert exit_codes[-1] == 0


def test_the_scripts_show_what_the_tools_can_do(work: Player) -> None:
    calls = [call for task in TASKS.values() for name in SCRIPTS for call in work(task, name).calls]
    edits = {call.arguments["command"] for call in calls if call.tool == "str_replace_editor"}
    assert edits == {"view", "create", "str_replace", "insert", "undo_edit"}
    texts = [call.result.text for call in calls]
    assert any("The command was killed after 1 seconds" in text for text in texts)
    assert any("characters cut here; the whole output is in" in text for text in texts)
    assert any("Multiple occurrences of old_str" in text for text in texts)
    assert any("did not appear verbatim" in text for text in texts)
    assert any(call.result.exit_code == 1 for call in calls)


# Helpers


async def play(task: DemoTask, script_name: str, repository: Path) -> list[Call]:
    """Make the calls of a script in `repository` instead of the image's."""
    tools = {tool.name: tool for tool in make_toolset("bash+editor")}
    sandbox = LocalSandbox(repository)
    calls: list[Call] = []
    try:
        for reply in replies_to(task, load_script(SCRIPTS[script_name])):
            for call in reply.tool_calls:
                arguments = json.loads(call.arguments_json.replace(REPOSITORY, str(repository)))
                tool = tools[call.name]
                result = await tool(tool.parameters.model_validate(arguments), sandbox)
                calls.append(Call(call.name, arguments, result))
    finally:
        await sandbox.close()
    return calls


def replies_to(task: DemoTask, script: Script) -> list[Reply]:
    """What the script says about a task."""
    conversation = script.conversation_for(task.row()["problem_statement"])
    assert conversation is not None
    return [entry for entry in conversation.replies if isinstance(entry, Reply)]


def built(task: DemoTask, folder: Path) -> Path:
    """The task's repository in `folder`."""
    folder = folder / task.name
    folder.mkdir(parents=True)
    build_repository(task, folder)
    return folder


def copy_of(task: DemoTask, folder: Path) -> DemoTask:
    """A copy of the task that a test may change."""
    return DemoTask(shutil.copytree(task.folder, folder / task.name))


def edit(file: Path, old: str, new: str) -> None:
    """Replace the only `old` in a file."""
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def git(repository: Path, *arguments: str, stdin: str = "", strip: bool = True) -> str:
    """What git prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *arguments],
        cwd=repository,
        env=environment | {"GIT_CONFIG_GLOBAL": os.devnull},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip() if strip else done.stdout


def passing_after(task: DemoTask, patch: str, repository: Path) -> set[str]:
    """The ids of the tests that pass once `patch` has been applied to a fresh repository, in the evaluation's order."""
    if patch:
        git(repository, "apply", "-", stdin=patch)
    git(repository, "checkout", "HEAD", "tests")
    git(repository, "apply", "-", stdin=task.test_patch)
    test_files = re.findall(r"^\+\+\+ b/(.+)$", task.test_patch, re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", *test_files],
        cwd=repository,
        env=os.environ | IN_IMAGES,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return set(re.findall(r"^PASSED (\S+)", done.stdout, re.MULTILINE))
