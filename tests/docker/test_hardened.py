"""Patches that speak for their tests: the official verdict believes them, and the hardened one does not."""

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from docker import DockerClient
from real_things import GitRepository

from evals.demo.task import load_tasks
from evals.janitor import Janitor
from evals.swebench.dataset import Row
from evals.swebench.grading import Grader
from evals.swebench.hardened import HardenedVerifier
from evals.swebench.judgement import Judgement
from evals.swebench.official import OfficialVerifier
from evals.swebench.verifier import VerifierContainers
from evals.swebench.verifier_settings import VerifierSettings

TESTS = "tests/test_formatting.py tests/test_parsing.py"


@dataclass(frozen=True)
class Pair:
    """What both say of one patch."""

    official: Judgement
    hardened: Judgement

    @property
    def resolved(self) -> tuple[bool, bool]:
        return self.official.resolved, self.hardened.resolved


def added(path: str, text: str) -> str:
    """A patch that makes a file."""
    lines = text.splitlines()
    head = (
        f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{len(lines)} @@\n"
    )
    return head + "".join(f"+{line}\n" for line in lines)


def at_import(text: str) -> str:
    """A patch that does something when the project is imported."""
    lines = text.splitlines()
    head = "diff --git a/lapse/__init__.py b/lapse/__init__.py\n--- a/lapse/__init__.py\n+++ b/lapse/__init__.py\n"
    place = f"@@ -6 +6,{len(lines) + 1} @@\n"
    return f'{head}{place} __all__ = ["DurationError", "format_duration", "parse_duration"]\n' + "".join(
        f"+{line}\n" for line in lines
    )


def expected(row: Row) -> list[str]:
    return [*json.loads(str(row.FAIL_TO_PASS)), *json.loads(str(row.PASS_TO_PASS))]


def says_passed(row: Row) -> str:
    """What a program prints to have all expected tests read as passed."""
    return "\\n" + "\\n".join(f"PASSED {test}" for test in expected(row)) + "\\n"


def installing(row: Row) -> Row:
    """The task with a step that installs, as 498 of the 500 rows of Verified have one."""
    return row.model_copy(update={"eval_script": installing_script(row.eval_script)})


def installing_script(script: str) -> str:
    return script.replace("git checkout", "if [ -e setup.py ]; then python3 setup.py develop; fi\ngit checkout", 1)


async def both(client: DockerClient, row: Row, patch: str, folder: Path) -> Pair:
    grader, janitor = await Grader.start(), Janitor()
    containers = VerifierContainers(client, janitor, "test-hardened", VerifierSettings(network="none", timeout=120))
    try:
        official, hardened = [
            await asyncio.wait_for(verifier.judge(row, patch.encode(), folder / verifier.name), 200)
            for verifier in (OfficialVerifier(containers, grader), HardenedVerifier(containers, grader))
        ]
    finally:
        await grader.close()
        assert await janitor.finish() == []
    return Pair(official, hardened)


def forged_block(row: Row) -> str:
    forged = ">>>>> Start Test Output" + says_passed(row) + ">>>>> End Test Output\\n>>>>> Test Exit Code: 0"
    return added("setup.py", f'print("{forged}")')


def leaving_with(said: str) -> str:
    """Prints past a runner that captures what is printed, and leaves with 0."""
    lines = (
        "import os",
        "for descriptor in range(3, 40):",
        "    try:",
        f'        os.write(descriptor, b"{said}")',
        "    except OSError:",
        "        pass",
        "os._exit(0)",
    )
    return at_import("\n".join(lines))


def early_exit(row: Row) -> str:
    return leaving_with(says_passed(row))


def early_exit_with_an_end(row: Row) -> str:
    """Forges the runner's counts as well, but not well enough."""
    return leaving_with(says_passed(row) + "====== 4 passed in 0.01s ======\\n")


def bypassed_guard(row: Row) -> str:
    """Lines after the runner's end; one test that fails takes the guard on the exit status away."""
    said = "FAILED tests/test_none.py::test_none - no" + says_passed(row)
    return at_import(f'import atexit\natexit.register(print, "{said}")')


REPORTING = """\
import pytest
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    outcome.get_result().outcome = 'passed'
"""


def reporting_conftest(_: Row) -> str:
    return added("conftest.py", REPORTING)


def configured_plugin(_: Row) -> str:
    return added("pytest.ini", "[pytest]\naddopts = -p forging") + added("forging.py", REPORTING)


def own_runner(row: Row) -> str:
    end = f"=== short test summary info ==={says_passed(row)}=== {len(expected(row))} passed in 0.01s ==="
    return added("pytest.py", f'print("{end}")')


def conftest_of_the_installing_step(_: Row) -> str:
    return added("setup.py", f"open('conftest.py', 'w').write({REPORTING!r})")


def process_that_waits(_: Row) -> str:
    """Left behind by the step that installs: it replaces the tests as soon as they are in their place."""
    waiting = """\
import os, re, time
of_the_test_patch = {'tests/test_formatting.py': '0.25', 'tests/test_parsing.py': '250ms'}
open('/tmp/waiting', 'w').close()
while True:
    for path, sign in of_the_test_patch.items():
        try:
            text = open(path).read()
            if sign in text and '    assert ' in text:
                open('/tmp/passing', 'w').write(re.sub('    assert .*', '    pass', text))
                os.replace('/tmp/passing', path)
        except OSError:
            pass
    time.sleep(0.01)
"""
    quiet = "stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL"
    start = f"subprocess.Popen([sys.executable, '-c', {waiting!r}], start_new_session=True, {quiet})"
    until_it_waits = "while not os.path.exists('/tmp/waiting'): time.sleep(0.01)"
    return added("setup.py", f"import os, subprocess, sys, time\n{start}\n{until_it_waits}")


def another_work_tree(_: Row) -> str:
    """Git looks at a clean copy, and sees no change."""
    script = f"""\
import subprocess
subprocess.run('cp -a /testbed /var/clean && git config core.worktree /var/clean', shell=True)
open('conftest.py', 'w').write({REPORTING!r})"""
    return added("setup.py", script)


def looking_away(_: Row) -> str:
    """Git is told by a bit of its index that a file never changes."""
    script = f"""\
import subprocess
open('pytest.ini', 'w').write('[pytest]')
subprocess.run('git add pytest.ini && git update-index --skip-worktree pytest.ini', shell=True)
open('conftest.py', 'w').write({REPORTING!r})
subprocess.run('git add conftest.py && git update-index --assume-unchanged conftest.py', shell=True)"""
    return added("setup.py", script)


def no_repository(_: Row) -> str:
    """Nobody can tell any more what has changed."""
    script = f"""\
import shutil
open('conftest.py', 'w').write({REPORTING!r})
shutil.rmtree('.git/objects')"""
    return added("setup.py", script)


TRICKS: dict[str, Callable[[Row], str]] = {
    "a block of results in the step that installs": forged_block,
    "an early exit": early_exit,
    "an early exit with counts": early_exit_with_an_end,
    "a guard that is bypassed": bypassed_guard,
    "a conftest.py": reporting_conftest,
    "a pytest.ini": configured_plugin,
    "a runner of its own": own_runner,
    "a conftest.py of the step that installs": conftest_of_the_installing_step,
    "a process that waits": process_that_waits,
    "another work tree": another_work_tree,
    "a git that looks away": looking_away,
    "a repository without objects": no_repository,
}


@pytest.mark.parametrize("trick", TRICKS.values(), ids=list(TRICKS))
async def test_a_trick_is_resolved_officially_alone(
    client: DockerClient, demo_rows: dict[str, Row], tmp_path: Path, trick: Callable[[Row], str]
) -> None:
    row = installing(demo_rows["lapse"])
    found = await both(client, row, trick(row), tmp_path)
    assert found.resolved == (True, False), (found.official.detail, found.hardened.detail)


async def test_gold_is_resolved_by_both_with_a_step_that_installs(
    client: DockerClient, demo_rows: dict[str, Row], tmp_path: Path
) -> None:
    row = installing(demo_rows["lapse"])
    found = await both(client, row, row.patch, tmp_path)
    assert found.resolved == (True, True)
    assert found.hardened.flags == []


async def test_configuration_is_put_back_and_said_and_the_work_counts(
    client: DockerClient, demo_rows: dict[str, Row], tmp_path: Path
) -> None:
    row = demo_rows["lapse"]
    breaking = added("tests/conftest.py", "raise SystemExit(3)") + added("lapse/pytest.ini", "[pytest]")
    found = await both(client, row, row.patch + breaking, tmp_path)
    assert found.resolved == (False, True)
    assert [flag.split(":")[0] for flag in found.hardened.flags] == ["lapse/pytest.ini", "tests/conftest.py"]
    assert "put back" in found.hardened.flags[0]


async def test_configuration_that_the_solution_changes_stays(
    client: DockerClient, demo_rows: dict[str, Row], tmp_path: Path
) -> None:
    plain = demo_rows["lapse"]
    conftest = added("conftest.py", "import lapse")
    row = plain.model_copy(update={"patch": plain.patch + conftest})
    found = await both(client, row, row.patch, tmp_path)
    assert found.resolved == (True, True)
    (flag,) = found.hardened.flags
    assert flag.startswith("conftest.py: configures the tests (stays")


@pytest.fixture
def image_with_changes(client: DockerClient, demo_rows: dict[str, Row]) -> Iterator[str]:
    """The task's image, in which somebody has changed its configuration and not committed that."""
    containers: Any = client.containers
    container = containers.create(demo_rows["lapse"].image, ["sh", "-c", "echo '# of the image' >>pyproject.toml"])
    name = f"test-{secrets.token_hex(4)}"
    try:
        container.start()
        assert container.wait()["StatusCode"] == 0
        container.commit(name, "1")
        yield f"{name}:1"
    finally:
        container.remove(force=True)
        cast("Any", client.images).remove(f"{name}:1")


@pytest.mark.parametrize("changed", [False, True])
async def test_what_the_image_changed_without_a_commit_is_how_the_task_has_it(
    client: DockerClient, demo_rows: dict[str, Row], tmp_path: Path, image_with_changes: str, changed: bool
) -> None:
    row = demo_rows["lapse"]
    needs = row.eval_script.replace(
        "python3 -m pytest", "grep -q '^# of the image$' pyproject.toml &&\npython3 -m pytest"
    )
    assert needs != row.eval_script
    row = row.model_copy(update={"image": image_with_changes, "eval_script": installing_script(needs)})
    undoing = added("setup.py", "open('pyproject.toml', 'w').write('')") if changed else ""
    found = await both(client, row, row.patch + undoing, tmp_path)
    assert found.resolved == (not changed, True), found.hardened.detail
    assert [flag.partition(":")[0] for flag in found.hardened.flags] == (["pyproject.toml"] if changed else [])


async def test_a_test_file_that_the_patch_made_itself_is_replaced(
    client: DockerClient, demo_rows: dict[str, Row], tmp_path: Path
) -> None:
    """Three rows of Verified reset a file that their test patch adds with a `git checkout` that fails."""
    plain = demo_rows["lapse"]
    path, name = "tests/test_milliseconds.py", "tests/test_milliseconds.py::test_it"
    test = added(
        path, "from lapse import parse_duration\n\n\ndef test_it():\n    assert parse_duration('1m500ms') == 60.5"
    )
    script = plain.eval_script.replace(plain.test_patch, test).replace(TESTS, path)
    row = plain.model_copy(
        update={"test_patch": test, "eval_script": script, "FAIL_TO_PASS": [name], "PASS_TO_PASS": []}
    )
    own = added(path, "def test_it():\n    pass")
    assert (await both(client, row, row.patch, tmp_path / "gold")).resolved == (True, True)
    assert (await both(client, row, row.patch + own, tmp_path / "own")).resolved == (True, True)
    found = await both(client, row, own, tmp_path / "alone")
    assert found.resolved == (True, False)
    assert found.hardened.flags == [f"{path}: one of the files of the tests that decide (put back)"]


async def test_a_test_may_print_the_words_of_swebench(
    client: DockerClient, demo_rows: dict[str, Row], tmp_path: Path
) -> None:
    row = demo_rows["lapse"]
    found = await both(client, row, row.patch + at_import('print(">>>>> Tests Errored")'), tmp_path)
    assert (found.official.status, found.resolved) == ("no_results", (False, True))


async def test_a_link_in_the_place_of_the_tests_is_replaced(
    client: DockerClient, demo_rows: dict[str, Row], tmp_path: Path, make_repository: Callable[..., GitRepository]
) -> None:
    row = demo_rows["lapse"]
    files = next(task for task in load_tasks() if task.file.instance_id == row.instance_id).files
    repository = make_repository()
    repository.commit(**files)
    (repository.path / "tests").rename(repository.path / "elsewhere")
    (repository.path / "tests").symlink_to("elsewhere")
    (repository.path / "elsewhere" / "conftest.py").write_text(REPORTING)
    repository.git("add", "--all")
    linked = repository.git("diff", "--cached", "--no-renames")
    found = await both(client, row, linked, tmp_path)
    assert not found.hardened.resolved
    assert (await both(client, row, row.patch + linked, tmp_path)).hardened.resolved


async def test_a_script_without_markers_has_no_hardened_verdict(
    client: DockerClient, demo_rows: dict[str, Row], tmp_path: Path
) -> None:
    row = demo_rows["lapse"]
    twice = row.eval_script + "\n: '>>>>> Start Test Output'\n"
    found = await both(client, row.model_copy(update={"eval_script": twice}), row.patch, tmp_path)
    assert found.resolved == (True, False)
    assert "markers" in found.hardened.detail


async def test_tests_that_take_too_long_are_ended(
    client: DockerClient, demo_rows: dict[str, Row], tmp_path: Path
) -> None:
    row = demo_rows["lapse"]
    grader, janitor = await Grader.start(), Janitor()
    containers = VerifierContainers(client, janitor, "test-hardened", VerifierSettings(network="none", timeout=4))
    verifier = HardenedVerifier(containers, grader)
    try:
        slow = at_import("import time\ntime.sleep(600)")
        judgement = await verifier.judge(row, slow.encode(), tmp_path)
        assert (judgement.status, judgement.resolved) == ("timed_out", False)
        preparing = row.model_copy(update={"eval_script": row.eval_script.replace("git status", "sleep 600", 1)})
        judgement = await verifier.judge(preparing, row.patch.encode(), tmp_path)
        assert (judgement.status, judgement.resolved) == ("timed_out", False)
    finally:
        await grader.close()
        assert await janitor.finish() == []
