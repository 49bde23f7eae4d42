"""What can be made of a run that is over: its audit, and its patches as other tools read them."""

import json
from collections.abc import Callable
from pathlib import Path

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


def export(console: Console, runs: Path, run: RunDirectory, out: Path, *options: str) -> Done:
    return console.run(
        [EVALS, "export", run.manifest.run_id, "--output", str(out), "--runs", str(runs), *options]
    )  # fmt: skip


def excluding(folder: Path, row: Row) -> Path:
    path = folder / "excluded.txt"
    path.write_text(f"# not today\n{row.instance_id}\n", "utf-8")
    return path
