"""Verdicts on a task in SWE-bench Pro's format: as its own evaluation has them, and one that a patch cannot forge."""

import io
import json
import secrets
import shlex
import tarfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from pro_desk import BASE, ProTask, built_image, built_repository, load_task

from evals.swebench.judgement import passed_tests, verdict
from tools.sandbox import SandboxError

WRONG = """\
diff --git a/quoter/__init__.py b/quoter/__init__.py
--- a/quoter/__init__.py
+++ b/quoter/__init__.py
@@ -5 +5 @@
-    return mark + text + mark
+    return repr(text)
"""
UNAPPLIABLE = WRONG.replace("-    return mark", "-    return no mark")


@pytest.fixture(scope="module")
def image(client: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with built_image(client, tmp_path_factory.mktemp("pro")) as name:
        yield name


@pytest.fixture
def task(client: DockerClient, image: str) -> ProTask:
    return load_task(client, image)


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
    head = "diff --git a/quoter/__init__.py b/quoter/__init__.py\n--- a/quoter/__init__.py\n+++ b/quoter/__init__.py\n"
    place = f"@@ -1,3 +1,{len(lines) + 3} @@\n"
    return f'{head}{place} """Puts quotes around texts."""\n' + "".join(f"+{line}\n" for line in lines) + " \n \n"


def expected(task: ProTask) -> list[str]:
    return [*task.row.fail_to_pass, *task.row.pass_to_pass]


async def test_the_solution_resolves_and_upstreams_files_are_left(task: ProTask, tmp_path: Path) -> None:
    """Test files whose names hold blanks and quotes are run, and the Dockerfiles' variables are there."""
    found = await task.judge(task.row.patch, tmp_path)
    assert found.resolved == (True, True), found
    assert (found.official.status, found.official.detail) == ("graded", "")
    folder = tmp_path / "official"
    assert {path.name for path in folder.iterdir()} == {
        "patch.diff", "stdout.log", "stderr.log", "output.json", "entryscript.sh", "entry_output.txt", "report.json",
    }  # fmt: skip
    assert (folder / "patch.diff").read_text() == task.row.patch
    report = json.loads((folder / "report.json").read_text())[task.name]
    assert report == found.official.report
    assert (report["patch_applied"], report["resolved"]) == (True, True)
    assert report["tests_status"]["FAIL_TO_PASS"] == {"success": task.row.fail_to_pass, "failure": []}
    assert passed_tests(report) == set(expected(task))
    record = verdict(
        found.official, number=1, try_number=1, verifier="official", verifier_version="1",
        patch_sha256="", image_id="", started=0,
    )  # fmt: skip
    assert record.pass_to_pass.passed == task.row.pass_to_pass
    assert found.hardened.report["exit_code"] == 0


@pytest.mark.parametrize("patch", [WRONG, UNAPPLIABLE, ""], ids=["wrong", "unappliable", "nothing"])
async def test_what_does_not_solve_the_task_is_not_resolved(task: ProTask, tmp_path: Path, patch: str) -> None:
    found = await task.judge(patch, tmp_path, anything=True)
    assert found.resolved == (False, False)
    for judgement in (found.official, found.hardened):
        assert judgement.status == "graded"
        assert judgement.report["patch_applied"] == (patch == WRONG)
        assert ("did not apply" in judgement.detail) == (patch != WRONG)
        failed = {test for group in judgement.report["tests_status"].values() for test in group["failure"]}
        assert failed == ({task.row.pass_to_pass[0]} if patch == WRONG else set(task.row.fail_to_pass))


async def test_an_empty_patch_runs_no_test(task: ProTask, tmp_path: Path) -> None:
    found = await task.judge(" \n", tmp_path)
    assert (found.official.status, found.hardened.status, found.resolved) == (
        "empty_patch",
        "empty_patch",
        (False,) * 2,
    )
    assert list(tmp_path.iterdir()) == []


async def test_a_run_script_that_hangs_is_ended_with_its_container(task: ProTask, tmp_path: Path) -> None:
    hanging = replace(task.changed(run_script="echo begun\nsleep 600 & sleep 600\n"), timeout=4)
    found = await hanging.judge(task.row.patch, tmp_path)
    assert (found.official.status, found.hardened.status) == ("timed_out", "timed_out")
    assert found.resolved == (False, False)
    for name in ("official", "hardened"):
        assert (tmp_path / name / "stdout.log").read_text() == "begun\n"


async def test_what_a_run_script_leaves_running_is_not_waited_for(task: ProTask, tmp_path: Path) -> None:
    script = "sleep 600 &\n" + task.scripts.tasks[task.name].run_script
    found = await replace(task.changed(run_script=script), timeout=60).judge(task.row.patch, tmp_path)
    assert found.resolved == (True, True)


async def test_binary_parts_of_a_patch_are_left_out(task: ProTask, tmp_path: Path) -> None:
    part = (
        "diff --git a/mark.png b/mark.png\nnew file mode 100644\nindex 0000000..1111111\n"
        "Binary files /dev/null and b/mark.png differ\n"
    )
    assert (await task.judge(task.row.patch + part, tmp_path / "last")).resolved == (True, True)
    found = await task.judge(part + task.row.patch, tmp_path / "first")
    assert found.resolved == (True, True)
    assert (found.files / "official" / "patch.diff").read_text() == part + task.row.patch


async def test_a_git_patch_of_a_binary_file_does_no_harm(task: ProTask, tmp_path: Path) -> None:
    repository = built_repository(tmp_path / "repository")
    repository.write("mark.png", bytes(range(256)))
    repository.git("add", "--all")
    patch = repository.git("diff", "--cached", "--binary")
    assert (await task.judge(patch + task.row.patch, tmp_path / "found")).resolved == (True, True)


async def test_without_a_selection_all_tests_run(task: ProTask, tmp_path: Path) -> None:
    found = await task.changed({"selected_test_files_to_run": []}).judge(task.row.patch, tmp_path)
    assert found.resolved == (True, True)


@pytest.mark.parametrize(
    ("parser", "reason"),
    [
        ("raise SystemExit('no such luck')", "the parser left with 1 (no such luck)"),
        ("import sys; open(sys.argv[3], 'w').write('{')", "output.json cannot be read"),
        ("import sys; open(sys.argv[3], 'w').write('{\"tests\": 1}')", "not what a parser writes (tests"),
        ("import os, sys; os.mkfifo(sys.argv[3])", "there is no output.json"),
    ],
)
async def test_without_readable_results_it_is_said_why(task: ProTask, tmp_path: Path, parser: str, reason: str) -> None:
    found = await task.changed(parser=parser).judge(task.row.patch, tmp_path)
    for judgement in (found.official, found.hardened):
        assert (judgement.status, judgement.resolved) == ("no_results", False)
        assert reason in judgement.detail
        assert judgement.report["patch_applied"] is True


def forged_output(task: ProTask) -> str:
    """Takes the parser's place, and writes what it would."""
    output = json.dumps({"tests": [{"name": name, "status": "PASSED"} for name in expected(task)]})
    parser = f"import sys\nopen(sys.argv[3], 'w').write({output!r})"
    return at_import(f"with open('/workspace/parser.py', 'w') as file: file.write({parser!r})")


def forged_log(task: ProTask) -> str:
    """Writes over what has been printed, and over what comes."""
    lines = "".join(f"{name} PASSED\n" for name in expected(task))
    return at_import(
        "import os, sys\n"
        f"with open('/workspace/stdout.log', 'w') as file: file.write({lines!r})\n"
        "for descriptor in range(1, 40):\n"
        "    try: os.close(descriptor)\n"
        "    except OSError: pass\n"
        "os._exit(0)"
    )


def early_exit(task: ProTask) -> str:
    """Prints past a runner that captures what is printed, and leaves with 0."""
    said = "\n" + "".join(f"{name} PASSED\n" for name in expected(task))
    return at_import(
        "import os\n"
        "for descriptor in range(3, 40):\n"
        f"    try: os.write(descriptor, {said.encode()!r})\n"
        "    except OSError: pass\n"
        "os._exit(0)"
    )


def other_python(task: ProTask) -> str:
    """Makes the Python that the parser runs with write what it likes."""
    output = json.dumps({"tests": [{"name": name, "status": "PASSED"} for name in expected(task)]})
    program = f"#!/bin/sh\ncat >/workspace/output.json <<'END'\n{output}\nEND\n"
    return at_import(
        f"import os\nos.unlink('/usr/local/bin/python')\nopen('/usr/local/bin/python', 'w').write({program!r})\n"
        "os.chmod('/usr/local/bin/python', 0o755)"
    )


def reporting_conftest(_: ProTask) -> str:
    text = (
        "import pytest\n@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtest_makereport(item, call):\n"
        "    outcome = yield\n    outcome.get_result().outcome = 'passed'\n"
    )
    return added("conftest.py", text)


def afterthought(task: ProTask) -> str:
    """Prints behind the last word of a runner that says honestly that a test failed."""
    said = "".join(f"{name} PASSED\n" for name in expected(task))
    return at_import(f"import atexit, os\natexit.register(lambda: os.write(1, {said.encode()!r}))")


def plugin(_: ProTask) -> str:
    """Registers a plugin of pytest in the way of an installed package."""
    text = (
        "import pytest\n@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtest_makereport(item, call):\n"
        "    outcome = yield\n    outcome.get_result().outcome = 'passed'\n"
    )
    metadata = added("kind-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: kind\nVersion: 1.0")
    return metadata + added("kind-1.0.dist-info/entry_points.txt", "[pytest11]\nkind = kind") + added("kind.py", text)


@pytest.mark.parametrize(
    "forged",
    [forged_output, forged_log, early_exit, other_python, reporting_conftest, afterthought, plugin],
)
async def test_a_patch_that_speaks_for_its_tests_is_believed_officially_alone(
    task: ProTask, tmp_path: Path, forged: Callable[[ProTask], str]
) -> None:
    found = await task.judge(forged(task), tmp_path)
    assert found.resolved == (True, False), found


async def test_configuration_of_the_tests_is_put_back_and_said(task: ProTask, tmp_path: Path) -> None:
    breaking = added("conftest.py", "raise SystemExit(3)") + added("tests/conftest.py", "raise SystemExit(3)")
    changed = (
        "diff --git a/tests/test_environment.py b/tests/test_environment.py\n--- a/tests/test_environment.py\n"
        "+++ b/tests/test_environment.py\n@@ -1,1 +1,2 @@\n+raise SystemExit(3)\n import os\n"
    )
    found = await task.judge(task.row.patch + breaking + changed, tmp_path)
    assert found.resolved == (False, True)
    assert [flag.split(":")[0] for flag in found.hardened.flags] == [
        "conftest.py", "tests/conftest.py", "tests/test_environment.py",
    ]  # fmt: skip


async def test_a_link_in_the_place_of_the_tests_is_replaced(task: ProTask, tmp_path: Path) -> None:
    repository = built_repository(tmp_path / "repository")
    (repository.path / "tests").rename(repository.path / "elsewhere")
    (repository.path / "tests").symlink_to("elsewhere")
    repository.git("add", "--all")
    linked = repository.git("diff", "--cached", "--no-renames")
    found = await task.judge(task.row.patch + linked, tmp_path / "both")
    assert found.hardened.resolved
    assert not (await task.judge(linked, tmp_path / "alone")).hardened.resolved


async def test_a_folder_that_hides_nothing_is_no_reason_to_doubt(task: ProTask, tmp_path: Path) -> None:
    found = await task.judge(task.row.patch + added("resource/table.txt", "a,b"), tmp_path)
    assert found.resolved == (True, True)
    assert found.hardened.flags == []


RUNNER = "node_modules/.bin/runner"


@contextmanager
def changed_image(
    client: DockerClient, image: str, command: str, files: dict[str, bytes]
) -> Generator[tuple[str, str]]:
    """An image with files in /app and a command run in it; its name, and what the command said last."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as members:
        for path, content in files.items():
            member = tarfile.TarInfo(f"app/{path}")
            member.size, member.mode = len(content), 0o755
            members.addfile(member, io.BytesIO(content))
    container: Any = client.containers.run(
        image, ["-c", "sleep 100"], entrypoint="/bin/bash", network_mode="none", detach=True
    )
    name = f"test-{secrets.token_hex(4)}"
    try:
        container.put_archive("/", archive.getvalue())
        code, said = container.exec_run(["/bin/bash", "-ec", f"cd /app\n{command}"])
        assert code == 0, said
        container.commit(name, "1", changes='ENTRYPOINT ["/bin/bash"]')
    finally:
        container.remove(force=True)
    try:
        yield f"{name}:1", said.decode().strip().split("\n")[-1]
    finally:
        api: Any = client.api
        api.remove_image(f"{name}:1", force=True)


def other_runner(task: ProTask) -> str:
    """Has the runner, which git ignores, print what is expected."""
    lines = "".join(f'+printf "%s PASSED\\n" {shlex.quote(name)}\n' for name in expected(task))
    place = f"@@ -1,2 +1,{len(expected(task)) + 1} @@\n"
    return f'--- a/{RUNNER}\n+++ b/{RUNNER}\n{place} #!/bin/bash\n-python -m pytest -v "$@"\n{lines}'


async def test_a_runner_that_git_ignores_is_put_back_and_said(task: ProTask, tmp_path: Path) -> None:
    files = {RUNNER: b'#!/bin/bash\npython -m pytest -v "$@"\n', ".git/info/exclude": b"node_modules\n"}
    script = task.scripts.tasks[task.name].run_script.replace("python -m pytest -v", RUNNER)
    with changed_image(task.client, task.row.image, "true", files) as (image, _):
        other = task.changed({"image": image}, run_script=script)
        head = f"diff --git a/{RUNNER} b/{RUNNER}\n"
        gone = f"{head}deleted file mode 100755\n--- a/{RUNNER}\n+++ /dev/null\n@@ -1,2 +0,0 @@\n"
        gone += '-#!/bin/bash\n-python -m pytest -v "$@"\n'
        moved = f"diff --git a/{RUNNER} b/x\nsimilarity index 100%\nrename from {RUNNER}\nrename to x\n"
        assert (await other.judge(other.row.patch, tmp_path / "gold")).resolved == (True, True)
        found = await other.judge(head + other_runner(other), tmp_path / "forged")
        assert found.resolved == (True, False)
        (flag,) = found.hardened.flags
        assert flag.startswith(RUNNER)
        for name, patch in {"gone": gone, "moved": moved}.items():
            found = await other.judge(other.row.patch + patch, tmp_path / name)
            assert found.resolved == (False, True), name
        installing = task.row.patch + added("node_modules/other.txt", "x")
        other = task.changed({"image": image, "patch": installing}, run_script=script)
        found = await other.judge(installing + head + other_runner(other), tmp_path / "installing")
        assert any(flag.startswith(RUNNER) and "put back" in flag for flag in found.hardened.flags)


async def test_links_and_modes_of_the_files_of_the_tests_stay(task: ProTask, tmp_path: Path) -> None:
    solution = task.name.split("-")[1]
    links = f"git checkout -q {solution}; ln -s /etc/hostname tests/link; ln -s gone tests/gone"
    commit = "git add -A; git -c user.name=a -c user.email=a@example.org commit -qm x; git rev-parse HEAD >/new"
    keep = f"git update-ref refs/heads/new HEAD; git checkout -q {task.row.base_commit}; cat /new"
    script = task.scripts.tasks[task.name].run_script
    script = script.replace("\n", "\n[ -L tests/link ] && [ -L tests/gone ] && [ -x tests/run.sh ] || exit 5\n", 1)
    with changed_image(
        task.client, task.row.image, f"{links}; printf 1 >tests/run.sh; chmod +x tests/run.sh; {commit}; {keep}", {}
    ) as (
        image,
        new,
    ):
        command = f"git checkout {new} -- tests"
        other = task.changed({"image": image, "before_repo_set_cmd": command}, run_script=script)
        assert (await other.judge(other.row.patch, tmp_path)).resolved == (True, True)


async def test_a_verdict_that_came_too_late_says_what_was_put_back(task: ProTask, tmp_path: Path) -> None:
    slow = replace(task.changed(run_script="#!/bin/bash\nsleep 60\n"), timeout=5.0)
    found = await slow.judge(task.row.patch + added("conftest.py", "import os"), tmp_path)
    assert [flag.split(":")[0] for flag in found.hardened.flags] == ["conftest.py"]
    assert found.official.script_seconds
    assert found.hardened.script_seconds


async def test_an_image_that_lacks_everything_is_no_failure_of_a_patch(task: ProTask, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="lacks the base commit"):
        await task.changed({"image": BASE}).judge(task.row.patch, tmp_path)


async def test_an_image_without_the_commit_of_the_tests_has_no_hardened_verdict(task: ProTask, tmp_path: Path) -> None:
    command = task.row.before_repo_set_cmd.replace(task.name.split("-")[1], "0" * 40)
    found = await task.changed({"before_repo_set_cmd": command}).judge(task.row.patch, tmp_path)
    assert (found.official.status, found.official.resolved) == ("graded", False)
    assert found.hardened.status == "no_results"
    assert "does not have the commit" in found.hardened.detail
