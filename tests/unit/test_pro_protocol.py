"""What SWE-bench Pro's evaluation runs and reads: its script, patches without binary parts, its parsers' output."""

import contextlib
import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dataset_desk import pro_row
from hypothesis import given
from hypothesis import strategies as st

from evals.swebench.dataset import ProRow
from evals.swebench.pro_doubts import doubts, without_afterthoughts
from evals.swebench.pro_entry_script import EntryScript, entry_script, without_binary_files
from evals.swebench.pro_protected_files import Checkout, checkout_of
from evals.swebench.pro_results import NoResultsError, ProReport, passed_tests
from evals.swebench.pro_scripts import ProFiles, read_folder
from evals.swebench.pro_steering import pro_steering
from evals.swebench.runner_summary import read_pytest
from evals.swebench.steering_files import Change, Task

TEXT = "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-a\n+Binary files a and b differ\n"
DIFFER = "diff --git a/b.png b/b.png\nindex 1..2 100644\nBinary files a/b.png and b/b.png differ\n"
LITERAL = (
    "diff --git a/c.png b/c.png\nindex 1..2 100644\nGIT binary patch\nliteral 3\nKcmZSh00\n\nliteral 0\nHcmV?d00001\n\n"
)
FILES = ProFiles("", "", "ENV A=1", "ENV B='b c'")


def script(**columns: Any) -> EntryScript:
    return entry_script(ProRow.model_validate(pro_row(**columns)), FILES)


def test_the_steps_are_those_of_upstream_in_their_order() -> None:
    before = "git reset --hard 1\ngit clean -fd\ngit checkout 2 -- 'test/a b.js'\n\n"
    assert script(before_repo_set_cmd=before).whole.splitlines() == [
        "export A=1",
        "export B='b c'",
        "cd /app",
        f"git reset --hard {'0' * 40}",
        f"git checkout {'0' * 40}",
        "git apply -v /workspace/patch.diff",
        "git checkout 2 -- 'test/a b.js'",
        "bash /workspace/run_script.sh test/a.js > /workspace/stdout.log 2> /workspace/stderr.log",
        "python /workspace/parser.py /workspace/stdout.log /workspace/stderr.log /workspace/output.json",
    ]


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1), min_size=1))
def test_the_selected_tests_are_one_argument_whatever_they_hold(names: list[str]) -> None:
    words = shlex.split(script(selected_test_files_to_run=names).run)
    assert words == ["bash", "/workspace/run_script.sh", ",".join(names)]


def test_without_a_selection_there_is_no_argument() -> None:
    assert script(selected_test_files_to_run="[]").run == "bash /workspace/run_script.sh\n"


def test_the_whole_script_is_one_that_bash_takes(tmp_path: Path) -> None:
    folder = Path(__file__).parents[1] / "data" / "pro_task"
    row = ProRow.model_validate_json((folder / "row.json").read_text("utf-8"))
    whole = entry_script(row, read_folder(folder, [row.instance_id]).tasks[row.instance_id]).whole
    assert subprocess.run(["/bin/bash", "-n"], input=whole.encode(), check=False).returncode == 0


@pytest.mark.parametrize(
    ("patch", "left"),
    [
        (TEXT, TEXT),
        (DIFFER + TEXT, TEXT),
        (TEXT + LITERAL + TEXT, TEXT + TEXT),
        (DIFFER + LITERAL, ""),
        ("From: somebody\n\n" + LITERAL + TEXT, "From: somebody\n\n" + TEXT),
        ("\n \n" + TEXT, TEXT),
        ("", ""),
    ],
)
def test_parts_on_binary_files_are_taken_out(patch: str, left: str) -> None:
    assert without_binary_files(patch.encode()) == left.encode()


@given(st.lists(st.sampled_from([TEXT, DIFFER, LITERAL])))
def test_every_other_part_stays_as_it_is(parts: list[str]) -> None:
    kept = "".join(part for part in parts if part == TEXT)
    assert without_binary_files("".join(parts).encode()) == kept.encode()


@given(st.binary())
def test_bytes_of_any_kind_are_taken_apart_without_loss(patch: bytes) -> None:
    assert without_binary_files(patch) == (patch if patch.strip() else b"")


def output(*tests: object) -> bytes:
    return json.dumps({"tests": tests}).encode()


def test_passed_is_what_says_so_and_nothing_else() -> None:
    statuses = ["PASSED", "FAILED", "SKIPPED", "ERROR", "XFAIL", "passed", None]
    assert passed_tests(output(*({"name": f"{status}", "status": status} for status in statuses))) == {"PASSED"}


@given(st.sets(st.text(st.characters(exclude_categories=("Cs",)))))
def test_names_of_any_kind_are_read(names: set[str]) -> None:
    assert passed_tests(output(*({"name": name, "status": "PASSED"} for name in names))) == names


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b'{"tests": [', "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"[]", "not what a parser writes"),
        (b"{}", "not what a parser writes (tests: Field required)"),
        (b'{"tests": [{"name": "a"}]}', "not what a parser writes (tests.0.status: Field required)"),
    ],
)
def test_what_is_no_output_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(NoResultsError) as error:
        passed_tests(content)
    assert said in str(error.value)


@given(st.binary())
def test_any_bytes_are_an_output_or_are_refused(content: bytes) -> None:
    with contextlib.suppress(NoResultsError):
        assert isinstance(passed_tests(content), frozenset)


def test_resolved_means_that_all_that_is_expected_has_passed() -> None:
    row = ProRow.model_validate(pro_row(fail_to_pass="['a', 'b']", pass_to_pass="['c', 'c']"))
    assert ProReport(row, frozenset("abcd"), patch_applied=True).resolved
    report = ProReport(row, frozenset("acd"), patch_applied=True)
    assert not report.resolved
    assert report.as_json()["tests_status"] == {
        "FAIL_TO_PASS": {"success": ["a"], "failure": ["b"]},
        "PASS_TO_PASS": {"success": ["c"], "failure": []},
    }


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("git reset --hard 1\ngit checkout 0123abc -- a.py 'b c.py'\n", Checkout("0123abc", ["a.py", "b c.py"])),
        ("git checkout 0123abc -- a.py\ngit clean -fd", None),
        ("git checkout 0123abc --", None),
        ("git checkout main -- a.py", None),
        ("git checkout '0123abc; id' -- a.py", None),
        ("git checkout 0123abc -- 'a", None),
        ("", None),
    ],
)
def test_the_files_of_the_tests_and_their_commit(command: str, found: Checkout | None) -> None:
    assert checkout_of(command) == found


def test_configuration_and_tests_of_go_and_javascript_are_steering() -> None:
    task = Task(frozenset({"a_test.go"}), frozenset({"package.json", "src/a.js"}), "", frozenset({"src", "test"}))
    new = ["zz_test.go", "jest.config.js", ".mocharc.json", "test/new.js", "src/new.test.ts", "src/new.js"]
    old = ["a_test.go", "b_test.go", "package.json", "test/helper.js", "src/old.test.ts", "src/a.js", "conftest.py"]
    changes = [Change(path, is_new=path in new) for path in [*new, *old]]
    found = {one.path: one.kept for one in pro_steering(changes, task)}
    put_back = [
        ".mocharc.json", "a_test.go", "b_test.go", "conftest.py", "jest.config.js", "src/old.test.ts",
        "test/helper.js", "zz_test.go",
    ]  # fmt: skip
    assert found == dict.fromkeys(put_back, False) | {"package.json": True}


def test_what_is_installed_in_the_repository_is_steering_but_where_the_solution_changes_it() -> None:
    changes = [
        Change(path, is_new=path.endswith("new.js"))
        for path in ["node_modules/a/new.js", "web/node_modules/.bin/jest", "vendor/a/a.go", "vitest.workspace.ts"]
    ]
    other = [Change("web/vendor/chart.js", is_new=False), Change("src/vendor.go", is_new=False)]
    task = Task(frozenset(), frozenset({"vendor/b/b.go"}), "", frozenset({"vendor"}))
    found = {one.path: one.kept for one in pro_steering([*changes, *other], task, "go")}
    assert found == dict.fromkeys([one.path for one in changes], False) | {"vendor/a/a.go": True}


@pytest.mark.parametrize(
    ("path", "language", "is_steering"),
    [
        ("queue.py", "python", True),
        ("queue.py", "js", False),
        ("types/index.ts", "ts", False),
        ("spec/openapi.yaml", "js", False),
        ("lib/ansible/plugins/test/core.py", "python", False),
        ("spec/helper.js", "js", True),
    ],
)
def test_only_what_can_steer_a_project_in_its_language_is_steering(path: str, language: str, is_steering: bool) -> None:
    task = Task(frozenset(), frozenset(), "", frozenset({"lib"}))
    change = Change(path, is_new=path.startswith(("queue", "types")))
    assert bool(pro_steering([change], task, language)) == is_steering


BEGIN = "============================= test session starts =============================="
END = "========================= 1 failed, 3 passed, 2 rerun in 0.12s ========================="
COLOURED_END = "\x1b[31m===== \x1b[31m1 failed\x1b[0m, \x1b[32m2 passed\x1b[0m in 61.00s (0:01:01)\x1b[0m =====\x1b[0m"


@pytest.mark.parametrize(
    ("lines", "is_doubted"),
    [
        ([BEGIN, "a PASSED", END], False),
        ([BEGIN, END, BEGIN, "============ no tests ran in 0.01s ============="], False),
        ([f"\x1b[1m{BEGIN}\x1b[0m", COLOURED_END], False),
        (["--- PASS: TestX (0.00s)", "ok  \tpkg\t0.01s"], False),
        ([BEGIN, "a PASSED"], True),
        ([BEGIN, END, BEGIN, "a PASSED"], True),
    ],
)  # fmt: skip
def test_a_session_of_pytest_that_does_not_end_is_doubted(lines: list[str], is_doubted: bool) -> None:
    assert bool(doubts("\n".join(lines).encode(), b"", ())) == is_doubted


SESSION = [
    "===== test session starts =====",
    "tests/test_a.py::test_one PASSED",
    "tests/test_a.py::test_two FAILED",
    "===== short test summary info =====",
    "FAILED tests/test_a.py::test_two - assert 1 == 2",
    "===== 1 failed, 1 passed in 0.12s =====",
]


@pytest.mark.parametrize(
    ("lines", "expected", "said"),
    [
        (SESSION, ["tests/test_a.py::test_one"], ""),
        (SESSION, ["tests/test_a.py::test_one", "tests/test_a.py::test_two"], "2 expected tests are read as passed"),
        (SESSION, ["tests/test_a.py::test_two"], "pytest says that these failed"),
        ([*SESSION, *SESSION], ["tests/test_a.py::test_two"], ""),
        (["=== RUN   TestA", "--- PASS: TestA (0.00s)"], ["TestA"], ""),
        (["=== RUN   TestA", "--- PASS: TestA (0.00s)", "--- FAIL: TestA (0.00s)"], ["TestA"], "more verdicts"),
        (["=== RUN   TestA", "--- PASS: TestA", "=== RUN   TestA", "--- FAIL: TestA"], ["TestA"], ""),
    ],
)
def test_what_is_read_as_passed_is_held_against_what_the_runner_says(
    lines: list[str], expected: list[str], said: str
) -> None:
    found = "; ".join(doubts("\n".join(lines).encode(), b"", expected))
    assert said in found
    assert bool(said) == bool(found)


def test_nothing_behind_the_last_word_of_pytest_is_read() -> None:
    forged = b"tests/test_a.py::test_two PASSED"
    printed = "\n".join(SESSION).encode()
    assert without_afterthoughts(printed + b"\n" + forged) == printed + b"\n"
    coloured = printed.replace(b"===== 1 failed", b"\x1b[31m===== 1 failed")
    assert without_afterthoughts(coloured + b"\n" + forged) == coloured + b"\n"
    assert without_afterthoughts(forged) == forged


@pytest.mark.timeout(20)
@pytest.mark.parametrize("line", ["= " + "1" * 1_000_000, "= 1" + " in 1s" * 200_000 + " =", "=" * 1_000_000])
def test_one_long_line_holds_nobody_up(line: str) -> None:
    printed = f"{SESSION[0]}\n{line}\n".encode()
    assert without_afterthoughts(printed) == printed
    assert doubts(printed, b"", ["tests/test_a.py::test_one"])
    assert read_pytest(line) is None
