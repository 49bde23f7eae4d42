"""Exports in the layout of swebench's run_evaluation: its own code counts them as we do."""

import json
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from export_desk import PATCH, TASKS, files_below, run_in, work_on

from evals.swebench.exports import ExportError, export_evaluation
from results.records.events import BackendDescription
from results.records.manifest import BenchmarkDescription
from results.records.outcome import Outcome, TryEnd
from results.records.verdict import Verdict
from results.run_directory import RunDirectory
from results.score import trial_results

SOLVED, FAILED, EMPTY, NOT_APPLIED, BROKEN, MISSING = (f"org__{n}-1" for n in ("a", "b", "c", "d", "e", "f"))
ALL = [SOLVED, FAILED, EMPTY, NOT_APPLIED, BROKEN, MISSING]
MODEL = "org__Model-3B"

REPORT = """
import json, sys
from swebench.harness.reporting import make_run_report
from swebench.harness.utils import get_predictions_from_file
predictions = {one["instance_id"]: one for one in get_predictions_from_file("all_preds.jsonl", "", "")}
tasks = [{"instance_id": task} for task in json.loads(sys.argv[1])]
make_run_report(predictions, tasks, sys.argv[2], report_dir=sys.argv[3])
"""


def run_of_all_kinds(folder: Path) -> RunDirectory:
    benchmark = BenchmarkDescription(name="swebench:x", source="verified", content_sha256="0" * 64, task_ids=ALL)
    run = run_in(folder, benchmark=benchmark)
    work_on(run, SOLVED, PATCH, resolved=True)
    work_on(run, FAILED, b"+caf\xe9\n", resolved=False)
    for task, patch in ((EMPTY, b""), (NOT_APPLIED, PATCH)):
        work_on(run, task, patch, resolved=None)
        trial = run.trial(task, 1)
        files = trial.verdict_files(1)
        if patch:
            (files / "apply_output.txt").write_text("error: patch failed")
        status = "patch_failed" if patch else "empty_patch"
        trial.append_verdict(
            Verdict(
                number=1, try_number=1, verifier="official", verifier_version="v", status=status,
                reward=0.0, resolved=False, started=1, ended=2,
            )
        )  # fmt: skip
    one = run.trial(BROKEN, 1).start_try()
    one.write_patch(PATCH)
    cancelled = Outcome(exit="submitted", error="cancelled")
    one.write_end(TryEnd(task_id=BROKEN, attempt=1, number=1, outcome=cancelled, started=1, ended=2))
    return run


def test_swebenchs_own_report_says_of_every_task_what_our_records_say(tmp_path: Path) -> None:
    run = run_of_all_kinds(tmp_path / "runs")
    exported = export_evaluation(run, tmp_path / "evaluation")
    (folder,) = exported.paths
    arguments = [json.dumps(ALL), run.manifest.run_id, str(tmp_path / "theirs")]
    subprocess.run([sys.executable, "-c", REPORT, *arguments], cwd=folder, check=True, capture_output=True)
    name = f"{MODEL}.{run.manifest.run_id}.json"
    theirs = read(tmp_path / "theirs" / name)
    assert read(folder / name) == theirs
    assert theirs["schema_version"] == 2

    ours = {result.task_id: result for result in trial_results(run)}
    assert ids(theirs, "resolved") == {task for task, one in ours.items() if one.state == "resolved"} == {SOLVED}
    graded = {task for task, one in ours.items() if one.verdict and one.verdict.status == "graded"}
    assert ids(theirs, "completed") == graded == {SOLVED, FAILED}
    assert ids(theirs, "unresolved") == graded - {SOLVED}
    assert ids(theirs, "empty_patch") == {EMPTY}
    assert ids(theirs, "error") == {NOT_APPLIED, BROKEN}
    assert ids(theirs, "incomplete") == {MISSING}
    assert theirs["total_instances"] == len(ours)
    assert f"attempt 1: 1 tasks have no patch and are left out: {MISSING}" in exported.remarks
    assert f"1 tasks have no official verdict, and so no report: {BROKEN}" in exported.remarks


def test_each_judged_task_has_a_folder_of_logs(tmp_path: Path) -> None:
    run = run_of_all_kinds(tmp_path / "runs")
    (folder,) = export_evaluation(run, tmp_path / "evaluation").paths
    logs = folder / "logs" / "run_evaluation" / run.manifest.run_id / MODEL
    graded = ["eval.sh", "patch.diff", "report.json", "test_output.txt"]
    assert files_below(logs) == sorted(
        [f"{task}/{name}" for task in (SOLVED, FAILED) for name in graded]
        + [f"{NOT_APPLIED}/{name}" for name in ("apply_output.txt", "patch.diff")]
    )
    assert (logs / FAILED / "patch.diff").read_bytes() == b"+caf\xe9\n"
    with pytest.raises(ExportError, match="--force to replace it"):
        export_evaluation(run, folder)
    assert export_evaluation(run, folder, force=True).paths == [folder]


def test_a_run_without_any_prediction_has_no_report_and_says_so(tmp_path: Path) -> None:
    exported = export_evaluation(run_in(tmp_path / "runs"), tmp_path / "evaluation")
    assert files_below(tmp_path / "evaluation") == ["all_preds.jsonl"]
    assert "there are no predictions, and of none swebench makes no report" in exported.remarks


@pytest.mark.parametrize("model", ["..", "m" * 250, "a\nb"])
def test_a_model_whose_name_can_be_no_folder_is_refused(tmp_path: Path, model: str) -> None:
    backend = BackendDescription(base_url="http://127.0.0.1:1/v1", model=model, dialect="generic")
    run = run_in(tmp_path / "runs", backend=backend)
    work_on(run, TASKS[0], PATCH)
    with pytest.raises(ExportError, match="cannot be the name of a folder"):
        export_evaluation(run, tmp_path / "evaluation")
    assert not (tmp_path / "evaluation").exists()


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def ids(report: dict[str, Any], kind: str) -> Collection[str]:
    found = set[str](report[f"{kind}_ids"])
    assert len(found) == report.get(f"{kind}_instances", len(found))
    return found
