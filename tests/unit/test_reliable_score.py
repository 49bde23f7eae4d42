"""`results show --tasks`: the score on the tasks that can be believed, beside that on all."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from results.records.reliability import Reliability, ReliableSet, TaskReliability
from unbroken.commands.results import application

GOLDEN = Path(__file__).parents[1] / "data" / "golden_run_format_1"
RUN = "20261124-125800-demo-careful-3f9a"
TASKS = ("tiny__ledger-1", "tiny__ledger-2", "tiny__slug-3", "tiny__slug-4")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "runs"))


def write(folder: Path, found: Sequence[tuple[str, Reliability]], content: str = "0" * 64) -> Path:
    """A file as `evals validate` writes it."""
    tasks = [
        TaskReliability(task_id=task, reliability=reliability, gold_resolved=[True], nop_resolved=[False])
        for task, reliability in found
    ]
    reliable = ReliableSet(
        source="demo", revision="1", content_sha256=content, repeat=1, timeout_seconds=60, grade_network="bridge",
        verifier="official", tasks=[task for task, reliability in found if reliability == "reliable"], found=tasks,
    )  # fmt: skip
    path = folder / "reliable.json"
    path.write_text(reliable.model_dump_json())
    return path


def show(runs: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(application, ["show", RUN, "--runs", str(runs), *map(str, arguments)])


def test_the_score_on_reliable_tasks_stands_beside_that_on_all(runs: Path):
    file = write(runs, [(TASKS[0], "reliable"), (TASKS[1], "flaky"), ("other", "reliable"), (TASKS[2], "broken")])
    shown = " ".join(show(runs, "--tasks", file).output.split())
    assert "resolved 1/2 (50.0%)" in shown
    assert "reliable tasks 1/1 (100.0%), 95% interval" in shown
    assert "1 task of the run; left out: 1 flaky, 1 broken, 1 that the file does not know" in shown


def test_json_has_both(runs: Path):
    file = write(runs, [(TASKS[0], "reliable"), (TASKS[1], "reliable")])
    found: dict[str, Any] = json.loads(show(runs, "--json", "--tasks", file).stdout)
    assert (found["summary"]["score"]["n"], found["reliable"]["score"]["n"]) == (2, 2)
    assert found["reliable"]["not_looked_at"] == 2
    assert "reliable" not in json.loads(show(runs, "--json").stdout)


def test_other_versions_of_the_same_tasks_are_refused(runs: Path):
    refused = show(runs, "--tasks", write(runs, [(task, "reliable") for task in TASKS], content="f" * 64))
    assert refused.exit_code == 2
    assert "other versions of these tasks" in " ".join(refused.stderr.replace("│", " ").split())


@pytest.mark.parametrize("text", ["", "{}", '["tiny__ledger-1"]'])
def test_what_is_no_such_file_is_a_usage_error(runs: Path, tmp_path: Path, text: str):
    (tmp_path / "file").write_text(text)
    for file in (tmp_path / "file", tmp_path / "missing", write(runs, [("other", "reliable")])):
        refused = show(runs, "--tasks", file)
        assert refused.exit_code == 2
        assert "--tasks" in refused.stderr


def test_a_single_task_has_no_score(runs: Path):
    assert show(runs, "--trial", TASKS[0], "--tasks", write(runs, [(TASKS[0], "reliable")])).exit_code == 2
