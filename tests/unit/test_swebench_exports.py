"""Runs in the spellings of others: whole, byte for byte where the format can, and nothing overwritten."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from export_desk import PATCH, TASKS, files_below, lines, run_in, work_on
from hypothesis import given
from hypothesis import strategies as st

from evals.swebench.exported_work import Work, predictions_text
from evals.swebench.exports import ExportError, export_evaluation, export_predictions, export_pro, export_submission
from evals.swebench.predictions import MISSING, read_predictions
from results.records.manifest import BenchmarkDescription
from results.records.outcome import ErrorSource, Outcome, TryEnd
from results.run_directory import RunDirectory


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


@pytest.mark.parametrize("state", ["cancelled", None])
def test_a_task_that_nobody_predicted_is_no_empty_patch(tmp_path: Path, state: ErrorSource | None) -> None:
    run = run_in(tmp_path / "runs")
    work_on(run, TASKS[0], b"", resolved=False)
    one = run.trial(TASKS[1], 1).start_try()
    one.write_patch(b"")
    missing = Outcome(exit="submitted", error=state, detail=MISSING)
    one.write_end(TryEnd(task_id=TASKS[1], attempt=1, number=1, outcome=missing, started=1, ended=2))
    exported = export_predictions(run, tmp_path / "p.jsonl")
    assert [line["instance_id"] for line in lines(tmp_path / "p.jsonl")] == [TASKS[0]]
    assert exported.remarks == [f"attempt 1: 2 tasks have no patch and are left out: {TASKS[1]}, {TASKS[2]}"]


def test_what_an_error_kept_from_working_is_no_empty_patch(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs")
    for task, patch in zip(TASKS, (b"", b"some work"), strict=False):
        one = run.trial(task, 1).start_try()
        one.write_patch(patch)
        broken = Outcome(exit="error", error="backend")
        one.write_end(TryEnd(task_id=task, attempt=1, number=1, outcome=broken, started=1, ended=2))
    export_predictions(run, tmp_path / "p.jsonl")
    assert [line["instance_id"] for line in lines(tmp_path / "p.jsonl")] == [TASKS[1]]


@given(st.binary())
def test_strict_readers_take_whatever_a_patch_holds(patch: bytes) -> None:
    remarks: list[str] = []
    text = predictions_text([Work("a", patch, Path(), None, resolved=False)], "m", remarks)
    read = json.loads(text)["model_patch"].encode()  # raises for half surrogates
    assert (read == patch) == (not remarks)


@pytest.mark.parametrize(
    ("source", "split"),
    [
        ("verified", "verified"),
        ("full", "test"),
        ("SWE-bench/SWE-bench_Verified", "verified"),
        ("princeton-nlp/SWE-bench_Lite", "lite"),
        ("SWE-bench/SWE-bench", "test"),
        ("SWE-bench/SWE-bench_Multilingual", "multilingual"),
        ("/data/x/swebench_lite.parquet", "lite"),
        ("verified.jsonl", "verified"),
    ],
)
def test_the_folder_of_a_submission_is_that_of_its_dataset(tmp_path: Path, source: str, split: str) -> None:
    (folder,) = export_submission(run_of(tmp_path / "runs", source), tmp_path / "out").paths
    assert folder.parent.name == split


@pytest.mark.parametrize(
    "source",
    [
        "/data/lite/elite.jsonl",
        "/data/lite/rows.json",
        "my-lite-rows.jsonl",
        "test.parquet",
        "_.json",
        "me/lite",
        "pro",
    ],
)
def test_a_dataset_of_unknown_origin_gets_the_folder_that_is_stated(tmp_path: Path, source: str) -> None:
    run = run_of(tmp_path / "runs", source)
    with pytest.raises(ExportError, match="give its folder there with --split"):
        export_submission(run, tmp_path / "out")
    (folder,) = export_submission(run, tmp_path / "out", split="lite").paths
    assert folder.parent == tmp_path / "out" / "evaluation" / "lite"


def run_of(runs: Path, source: str) -> RunDirectory:
    benchmark = BenchmarkDescription(name="swebench:x", source=source, content_sha256="0" * 64, task_ids=TASKS)
    return run_in(runs, benchmark=benchmark)


def test_neither_the_leaderboard_nor_swebench_takes_a_run_of_pro(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs", sandbox={"verifier_scripts_sha256": "0"})
    for export in (export_submission, export_evaluation):
        with pytest.raises(ExportError, match="--format pro"):
            export(run, tmp_path / "out")


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
