"""Runs in the spellings of others: whole, byte for byte where the format can, and nothing overwritten."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from evals.swebench.exports import ExportError, export_evaluation, export_predictions, export_pro, export_submission
from evals.swebench.predictions import MISSING, read_predictions
from evals.swebench.submission import Submission
from results.records.events import BackendDescription
from results.records.manifest import AgentDescription, BenchmarkDescription, Manifest, SessionRecord
from results.records.outcome import Outcome, TryEnd
from results.records.verdict import Verdict
from results.run_directory import RunDirectory

TASKS = ["org__one-1", "org__two-2", "org__three-3"]
PATCH = "diff --git a/ü b/ü\r\n+x\n".encode()


def run_in(folder: Path, attempts: int = 1, **changes: Any) -> RunDirectory:
    """A run with sessions and nothing done."""
    backend = BackendDescription(base_url="http://127.0.0.1:1/v1", model="org/Model-3B", dialect="generic")
    benchmark = BenchmarkDescription(
        name="swebench", source="SWE-bench/SWE-bench_Verified", revision="abc", content_sha256="0" * 64, task_ids=TASKS
    )
    settings: dict[str, Any] = {"benchmark": benchmark, "attempts": attempts, "backend": backend, **changes}
    run = RunDirectory.create(
        folder,
        Manifest(
            run_id="20261130-160000-x-1", agent=AgentDescription(name="default"), harness_version="0.1.0", **settings,
        ),
    )  # fmt: skip
    run.append_session(SessionRecord(started=1796040000, manifest_sha256="0", machine="m", python="3", concurrency=1))
    return run


def work_on(
    run: RunDirectory, task: str, patch: bytes | None, attempt: int = 1, *, resolved: bool | None = True
) -> None:
    """One more try; with a verdict and the logs of its grading unless `resolved` is None."""
    trial = run.trial(task, attempt)
    one = trial.start_try()
    one.trajectory_path.write_text(f"trajectory {task} {attempt}.{one.number}")
    if patch is not None:
        one.write_patch(patch)
    outcome = Outcome(exit="finished") if patch is not None else Outcome(exit="error", error="sandbox")
    one.write_end(TryEnd(task_id=task, attempt=attempt, number=one.number, outcome=outcome, started=1, ended=2))
    if resolved is None:
        return
    number = trial.next_verdict_number()
    files = trial.verdict_files(number)
    (files / "report.json").write_text(json.dumps({task: {"resolved": resolved}}))
    (files / "test_output.txt").write_text(f"log {number}")
    (files / "eval.sh").write_text("true")
    trial.append_verdict(
        Verdict(
            number=number, try_number=one.number, verifier="official", verifier_version="v", status="graded",
            reward=float(resolved), resolved=resolved, started=1, ended=2,
        )
    )  # fmt: skip


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_predictions_are_spelled_as_swebench_reads_them(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs")
    work_on(run, TASKS[0], PATCH)
    work_on(run, TASKS[1], b"", resolved=None)
    exported = export_predictions(run, tmp_path / "all_preds.jsonl")
    assert lines(tmp_path / "all_preds.jsonl") == [
        {"instance_id": TASKS[0], "model_name_or_path": "org/Model-3B", "model_patch": PATCH.decode()},
        {"instance_id": TASKS[1], "model_name_or_path": "org/Model-3B", "model_patch": ""},
    ]
    assert read_predictions(tmp_path / "all_preds.jsonl")[TASKS[0]].patch == PATCH
    assert exported.remarks == [f"attempt 1: 1 tasks have no patch and are left out: {TASKS[2]}"]


def test_the_try_that_was_judged_is_the_one_that_is_exported(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs")
    work_on(run, TASKS[0], None, resolved=None)
    work_on(run, TASKS[0], b"judged", resolved=False)
    work_on(run, TASKS[0], b"later", resolved=None)
    export_predictions(run, tmp_path / "p.jsonl")
    assert [line["model_patch"] for line in lines(tmp_path / "p.jsonl")] == ["judged"]


def test_a_patch_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs")
    for task in TASKS:
        work_on(run, task, b"+caf\xe9\n")
    exported = export_predictions(run, tmp_path / "p.jsonl")
    assert lines(tmp_path / "p.jsonl")[0]["model_patch"] == "+caf\ufffd\n"
    assert len(exported.remarks) == 3
    assert exported.remarks[0].startswith(f"the patch of {TASKS[0]} is not UTF-8")


def test_a_task_that_nobody_predicted_is_no_empty_patch(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs")
    work_on(run, TASKS[0], b"", resolved=False)
    one = run.trial(TASKS[1], 1).start_try()
    one.write_patch(b"")
    missing = Outcome(exit="submitted", detail=MISSING)
    one.write_end(TryEnd(task_id=TASKS[1], attempt=1, number=1, outcome=missing, started=1, ended=2))
    exported = export_predictions(run, tmp_path / "p.jsonl")
    assert [line["instance_id"] for line in lines(tmp_path / "p.jsonl")] == [TASKS[0]]
    assert exported.remarks == [f"attempt 1: 2 tasks have no patch and are left out: {TASKS[1]}, {TASKS[2]}"]


REPORT = """
import json, sys
from pathlib import Path
from swebench.harness.reporting import make_run_report
predictions = {one["instance_id"]: one for one in map(json.loads, Path("all_preds.jsonl").read_text().splitlines())}
make_run_report(predictions, [{"instance_id": task} for task in json.loads(sys.argv[1])], sys.argv[2])
"""


def test_swebench_counts_what_was_exported_as_its_own_logs(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs")
    work_on(run, TASKS[0], PATCH, resolved=True)
    work_on(run, TASKS[1], PATCH, resolved=False)
    folder = tmp_path / "evaluation"
    assert export_evaluation(run, folder).paths == [folder]
    arguments = [json.dumps([*TASKS, "org__four-4"]), run.manifest.run_id]
    subprocess.run([sys.executable, "-c", REPORT, *arguments], cwd=folder, check=True, capture_output=True)
    report = json.loads((folder / f"org__Model-3B.{run.manifest.run_id}.json").read_text())
    assert (report["resolved_ids"], report["unresolved_ids"]) == ([TASKS[0]], [TASKS[1]])
    assert (report["error_ids"], report["incomplete_ids"]) == ([], ["org__four-4", TASKS[2]])
    assert report["total_instances"] == 4
    one = Path("logs/run_evaluation", run.manifest.run_id, "org__Model-3B", TASKS[0])
    assert {str(one / name) for name in ("patch.diff", "report.json", "test_output.txt", "eval.sh")} <= set(
        files_below(folder)
    )
    with pytest.raises(ExportError, match="--force to replace it"):
        export_evaluation(run, folder)
    assert export_evaluation(run, folder, force=True).paths == [folder]


@pytest.mark.parametrize(
    ("name", "source", "split"),
    [
        ("swebench:verified", "SWE-bench/SWE-bench_Verified", "verified"),
        ("swebench:rows", "/data/lite/elite.jsonl", "test"),
        ("swebench:rows", "/data/x/swebench_lite.parquet", "lite"),
        ("swebench:full", "SWE-bench/SWE-bench", "test"),
        ("swebench:multilingual", "SWE-bench/SWE-bench_Multilingual", "multilingual"),
    ],
)
def test_the_folder_of_a_submission_is_that_of_its_dataset(tmp_path: Path, name: str, source: str, split: str) -> None:
    benchmark = BenchmarkDescription(name=name, source=source, content_sha256="0" * 64, task_ids=TASKS)
    run = run_in(tmp_path / "runs", benchmark=benchmark)
    assert Submission.of(run, "m").split == split


def test_the_leaderboard_takes_no_run_of_pro(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs", sandbox={"verifier_scripts_sha256": "0"})
    with pytest.raises(ExportError, match="--format pro"):
        export_submission(run, tmp_path / "out")


def test_each_attempt_gets_a_file_of_its_own(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs", attempts=2)
    work_on(run, TASKS[0], b"first", attempt=1)
    work_on(run, TASKS[0], b"second", attempt=2)
    exported = export_predictions(run, tmp_path / "p.jsonl")
    assert [path.name for path in exported.paths] == ["p.1.jsonl", "p.2.jsonl"]
    assert [lines(path)[0]["model_patch"] for path in exported.paths] == ["first", "second"]


def test_one_attempt_can_be_picked(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs", attempts=2)
    work_on(run, TASKS[0], b"second", attempt=2)
    assert export_predictions(run, tmp_path / "p.jsonl", attempt=2).paths == [tmp_path / "p.jsonl"]
    assert lines(tmp_path / "p.jsonl")[0]["model_patch"] == "second"
    with pytest.raises(ExportError, match="has no attempt 3; it has 2"):
        export_predictions(run, tmp_path / "q.jsonl", attempt=3)


def test_pro_gets_a_list_with_prefixes(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs")
    work_on(run, TASKS[0], PATCH)
    export_pro(run, tmp_path / "patches.json")
    expected = {"instance_id": TASKS[0], "patch": PATCH.decode(), "prefix": "org__Model-3B"}
    assert json.loads((tmp_path / "patches.json").read_text()) == [expected]
    assert read_predictions(tmp_path / "patches.json")[TASKS[0]].patch == PATCH
    with pytest.raises(ExportError, match="cannot be a prefix"):
        export_pro(run, tmp_path / "other.json", prefix="../x")


def test_a_submission_has_the_layout_of_the_leaderboard(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs")
    work_on(run, TASKS[0], PATCH)
    work_on(run, TASKS[1], b"+caf\xe9\n", resolved=False)
    (folder,) = export_submission(run, tmp_path).paths
    assert folder == tmp_path / "evaluation" / "verified" / "20261130_unbroken_org__Model-3B"
    graded = ["eval.sh", "patch.diff", "report.json", "test_output.txt"]
    assert files_below(folder) == sorted(
        ["README.md", "all_preds.jsonl", "metadata.yaml"]
        + [f"logs/{task}/{name}" for task in TASKS[:2] for name in graded]
        + [f"trajs/{task}.jsonl" for task in TASKS[:2]]
    )
    assert (folder / "logs" / TASKS[1] / "patch.diff").read_bytes() == b"+caf\xe9\n"
    assert (folder / "trajs" / f"{TASKS[0]}.jsonl").read_text() == f"trajectory {TASKS[0]} 1.1"
    assert "1 of 3 tasks resolved" in (folder / "README.md").read_text()


def test_the_metadata_has_the_leaderboards_fields(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs")
    work_on(run, TASKS[0], PATCH)
    (folder,) = export_submission(run, tmp_path).paths
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
    assert set(metadata["info"]) == {"authors", "logo", "name", "report", "site"}
    assert metadata["tags"]["model"] == ["org/Model-3B"]
    assert metadata["tags"]["checked"] is False
    assert metadata["tags"]["system"] == {"attempts": "1"}


def test_a_submission_has_the_logs_of_the_last_official_verdict(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs")
    work_on(run, TASKS[0], b"a", resolved=False)
    work_on(run, TASKS[0], b"b")
    (folder,) = export_submission(run, tmp_path).paths
    assert (folder / "logs" / TASKS[0] / "test_output.txt").read_text() == "log 2"


def test_exporting_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs")
    work_on(run, TASKS[0], b"a", resolved=None)
    before = sorted(run.path.rglob("*"))
    export_submission(run, tmp_path)
    assert sorted(run.path.rglob("*")) == before


def test_nothing_is_overwritten_unless_asked_for(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs", attempts=2)
    work_on(run, TASKS[0], b"new")
    (tmp_path / "p.2.jsonl").write_text("mine")
    with pytest.raises(ExportError, match=r"p\.2\.jsonl is there already"):
        export_predictions(run, tmp_path / "p.jsonl")
    assert not (tmp_path / "p.1.jsonl").exists()
    export_predictions(run, tmp_path / "p.jsonl", force=True)
    assert (tmp_path / "p.2.jsonl").read_text() == ""


def test_a_submission_is_replaced_as_a_whole_and_only_when_it_is_one(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs")
    work_on(run, TASKS[0], b"new")
    (folder,) = export_submission(run, tmp_path).paths
    (folder / "logs" / "stale").mkdir()
    with pytest.raises(ExportError, match="is there already"):
        export_submission(run, tmp_path)
    export_submission(run, tmp_path, force=True)
    assert not (folder / "logs" / "stale").exists()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    shutil.rmtree(folder)
    (folder / "precious").mkdir(parents=True)
    with pytest.raises(ExportError, match="so it is not replaced"):
        export_submission(run, tmp_path, force=True)
    assert (folder / "precious").is_dir()
