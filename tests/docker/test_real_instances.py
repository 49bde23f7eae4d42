"""A real instance, graded by us and by swebench itself: `make test-long` with material that is not in the repository.

`UNBROKEN_DATASET` names the file of SWE-bench Verified; `scripts/prepare_instance` has made the instance's image.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from docker import DockerClient
from docker.errors import ImageNotFound
from real_things import VENV, Console

from benchmarks.agreement import PATCHES, compare
from evals.swebench.dataset import Dataset, Row, load_dataset
from results.run_directory import list_runs

INSTANCE = "pallets__flask-5014"
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "instances" / f"{INSTANCE}.yaml"
EXPECTED = {
    "gold": "resolved",
    "nop": "not resolved",
    "wrong": "not resolved",
    "unappliable": "does not apply",
    "empty": "empty",
}


@pytest.fixture
def dataset(client: DockerClient) -> Dataset[Row]:
    source = os.environ.get("UNBROKEN_DATASET")
    if source is None:
        pytest.fail("set UNBROKEN_DATASET to a file of SWE-bench Verified")
    rows = load_dataset(source).of(Row).select([INSTANCE])
    try:
        client.images.get(rows.rows[0].image)
    except ImageNotFound:
        pytest.fail(f"prepare the image of {INSTANCE} first: docs/real-instances.md")
    return rows


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", PATCHES)
def test_both_say_the_same_of_a_patch(dataset: Dataset[Row], tmp_path: Path, kind: str) -> None:
    compared = compare(dataset.rows, kind, tmp_path / kind)
    assert not compared.differing(), (compared.ours, compared.theirs)
    (ours,) = compared.ours.values()
    assert (ours.said, ours.hardened) == (EXPECTED[kind], kind == "gold")


@pytest.mark.timeout(600)
def test_a_scripted_fix_is_resolved_by_both(dataset: Dataset[Row], console: Console, tmp_path: Path) -> None:
    rows, runs = tmp_path / "rows.jsonl", tmp_path / "runs"
    rows.write_text("".join(row.model_dump_json() + "\n" for row in dataset.rows), "utf-8")
    console.patience = 300
    arguments = ["--dataset", str(rows), "--runs", str(runs), "--backend", f"scripted:{SCRIPT}"]
    done = console.run([str(VENV / "bin" / "evals"), "swebench", *arguments])
    assert done.code == 0, done.err
    (run,) = list_runs(runs).found
    (trial,) = run.trials()
    assert [verdict.resolved for verdict in trial.verdicts()] == [True, True]
    command = [sys.executable, "-m", "swebench.harness.run_evaluation", "-d", rows.name, "-id", "check"]
    subprocess.run([*command, "-p", run.path / "predictions.jsonl"], cwd=tmp_path, check=True, capture_output=True)
    (report,) = tmp_path.glob("*.check.json")
    assert json.loads(report.read_text("utf-8"))["resolved_ids"] == [INSTANCE]
