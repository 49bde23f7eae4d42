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

from evals.swebench.dataset import Dataset, load_dataset
from results.run_directory import RunDirectory, list_runs

INSTANCE = "pallets__flask-5014"
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "instances" / f"{INSTANCE}.yaml"


@pytest.fixture
def dataset(client: DockerClient) -> Dataset:
    source = os.environ.get("UNBROKEN_DATASET")
    if source is None:
        pytest.fail("set UNBROKEN_DATASET to a file of SWE-bench Verified")
    rows = load_dataset(source).select([INSTANCE])
    try:
        client.images.get(rows.rows[0].image)
    except ImageNotFound:
        pytest.fail(f"prepare the image of {INSTANCE} first: docs/real-instances.md")
    return rows


def swebench_says_resolved(rows: Path, run: RunDirectory) -> list[str]:
    """What swebench's own command makes of the same predictions."""
    command = [sys.executable, "-m", "swebench.harness.run_evaluation", "-d", rows.name, "-id", "check"]
    folder = rows.parent
    subprocess.run([*command, "-p", run.path / "predictions.jsonl"], cwd=folder, check=True, capture_output=True)
    (report,) = folder.glob("*.check.json")
    resolved = json.loads(report.read_text())["resolved_ids"]
    report.unlink()
    return resolved


@pytest.mark.timeout(600)
def test_gold_nop_and_a_scripted_fix_are_judged_as_swebench_judges_them(
    dataset: Dataset, console: Console, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row.model_dump(mode="json")) + "\n" for row in dataset.rows))
    console.patience = 300
    agents: dict[str, tuple[list[str], list[str]]] = {
        "gold": (["--agent", "gold"], [INSTANCE]),
        "nop": (["--agent", "nop"], []),
        "scripted": (["--backend", f"scripted:{SCRIPT}"], [INSTANCE]),
    }
    for name, (arguments, expected) in agents.items():
        runs = tmp_path / name
        command = [str(VENV / "bin" / "evals"), "swebench", "--dataset", str(rows), "--runs", str(runs), *arguments]
        done = console.run(command)
        assert done.code == 0, done.err
        (run,) = list_runs(runs).found
        resolved = [trial.task_id for trial in run.trials() if trial.verdicts()[-1].resolved]
        assert resolved == expected == swebench_says_resolved(rows, run)
