"""What can be made of a run that is over: its audit, and its patches as other tools read them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from real_things import VENV, Console, Done, calls

from evals.swebench.dataset import Row
from results.run_directory import RunDirectory, list_runs

EVALS = str(VENV / "bin" / "evals")


def test_a_run_is_audited_and_exported(
    console: Console, demo_rows: dict[str, Row], tmp_path: Path, write_script: Callable[..., str]
) -> None:
    rows, runs = [demo_rows["lapse"], demo_rows["tally"]], tmp_path / "runs"
    dataset = tmp_path / "rows.json"
    dataset.write_text(json.dumps([row.model_dump(mode="json") for row in rows]), "utf-8")
    backend = write_script(calls("git reflog; git log --all -p | head; echo note >note.txt"), {"content": "Done."})
    done = console.run(
        [
            *(EVALS, "swebench", "--dataset", str(dataset), "--runs", str(runs), "--backend", backend),
            *("--sample", "1", "--seed", "3", "--exclude-file", str(excluding(tmp_path, rows[1]))),
        ]
    )
    assert done.code == 0, done.err
    (run,) = list_runs(runs).found
    assert [trial.task_id for trial in run.trials()] == [rows[0].instance_id]
    assert f"flagged: {rows[0].instance_id}, attempt 1: " in done.err

    audited = console.run([EVALS, "audit", run.manifest.run_id, "--runs", str(runs)])
    assert audited.code == 1
    (trial,) = run.trials()
    (directory,) = trial.tries()
    for line in audited.out.splitlines()[:-1]:
        number = int(line.split(".jsonl:")[1].split()[0])
        assert "git reflog" in directory.trajectory_path.read_text("utf-8").splitlines()[number - 1]
    assert audited.out == console.run([EVALS, "audit", run.manifest.run_id, "--again", "--runs", str(runs)]).out

    out = tmp_path / "all_preds.jsonl"
    assert export(console, runs, run, out).out == f"{out}\n"
    (prediction,) = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert prediction["instance_id"] == rows[0].instance_id
    assert "+note" in prediction["model_patch"]
    again = export(console, runs, run, out)
    assert (again.code, "Traceback" in again.err) == (2, False)
    assert str(out) in again.err
    assert export(console, runs, run, out, "--force").code == 0


@pytest.mark.alone  # swebench asks the engine about every image, and fails when one goes away meanwhile
def test_swebench_grades_the_exported_logs_again_and_counts_the_same(
    console: Console, demo_rows: dict[str, Row], tmp_path: Path
) -> None:
    runs, folder = tmp_path / "runs", tmp_path / "evaluation"
    patches = {
        "lapse": demo_rows["lapse"].patch,
        "tally": "diff --git a/NOTE b/NOTE\nnew file mode 100644\n--- /dev/null\n+++ b/NOTE\n@@ -0,0 +1 @@\n+note\n",
        "calends": "diff --git a/no b/no\n--- a/no\n+++ b/no\n@@ -1 +1 @@\n-not there\n+nor here\n",
        "encore": "",
    }
    rows = {name: demo_rows[name] for name in [*patches, *(name for name in demo_rows if name not in patches)][:5]}
    ids = {name: row.instance_id for name, row in rows.items()}
    dataset, predictions = tmp_path / "rows.json", tmp_path / "predictions.json"
    dataset.write_text(json.dumps([row.model_dump(mode="json") for row in rows.values()]), "utf-8")
    said = [{"instance_id": ids[name], "patch": patch, "model": "a/tool"} for name, patch in patches.items()]
    predictions.write_text(json.dumps(said), "utf-8")
    command = [EVALS, "grade", "--predictions", str(predictions), "--dataset", str(dataset), "--runs", str(runs)]
    done = console.run([*command, "--verdicts", "official"])
    assert done.code == 0, done.err
    (run,) = list_runs(runs).found

    exported = export(console, runs, run, folder, "--format", "evaluation")
    assert exported.code == 0, exported.err
    report = folder / f"a__tool.{run.manifest.run_id}.json"
    ours = json.loads(report.read_text("utf-8"))
    assert {kind: ours[f"{kind}_ids"] for kind in ("resolved", "unresolved", "error", "empty_patch", "incomplete")} == {
        "resolved": [ids["lapse"]],
        "unresolved": [ids["tally"]],
        "error": [ids["calends"]],
        "empty_patch": [ids["encore"]],
        "incomplete": [list(ids.values())[4]],
    }
    logs = folder / "logs" / "run_evaluation" / run.manifest.run_id / "a__tool"
    reports = {path: json.loads(path.read_text("utf-8")) for path in logs.glob("*/report.json")}
    for path in (report, *reports):
        path.unlink()
    theirs = console.run(
        [
            *(str(VENV / "bin" / "python"), "-m", "swebench.harness.run_evaluation", "--rewrite_reports", "true"),
            *("-d", str(dataset), "-p", "all_preds.jsonl", "-id", run.manifest.run_id),
        ],
        cwd=folder,
    )
    assert theirs.code == 0, theirs.err
    assert {path: json.loads(path.read_text("utf-8")) for path in reports} == reports
    counted = json.loads(report.read_text("utf-8"))
    assert {name: counted[name] for name in ours} == ours


def test_a_submission_of_unknown_origin_needs_its_folder_stated(
    console: Console, demo_rows: dict[str, Row], tmp_path: Path
) -> None:
    runs, predictions, dataset = tmp_path / "runs", tmp_path / "preds.json", tmp_path / "elite.json"
    dataset.write_text(json.dumps([demo_rows["lapse"].model_dump(mode="json")]), "utf-8")
    predictions.write_text(json.dumps([{"instance_id": demo_rows["lapse"].instance_id, "patch": ""}]), "utf-8")
    command = [EVALS, "grade", "--predictions", str(predictions), "--dataset", str(dataset), "--runs", str(runs)]
    assert console.run(command).code == 0
    (run,) = list_runs(runs).found
    unsaid = export(console, runs, run, tmp_path / "out", "--format", "submission")
    assert (unsaid.code, "Traceback" in unsaid.err) == (2, False)
    assert "--split" in unsaid.err
    said = export(console, runs, run, tmp_path / "out", "--format", "submission", "--split", "lite")
    assert said.code == 0, said.err
    assert Path(said.out.strip()).parent == tmp_path / "out" / "evaluation" / "lite"
    useless = export(console, runs, run, tmp_path / "p.jsonl", "--split", "lite")
    assert useless.code == 2
    assert "--format submission" in " ".join(useless.err.split())


def export(console: Console, runs: Path, run: RunDirectory, out: Path, *options: str) -> Done:
    return console.run(
        [EVALS, "export", run.manifest.run_id, "--output", str(out), "--runs", str(runs), *options]
    )  # fmt: skip


def excluding(folder: Path, row: Row) -> Path:
    path = folder / "excluded.txt"
    path.write_text(f"# not today\n{row.instance_id}\n", "utf-8")
    return path
