"""A task of SWE-bench Pro, from its row to a score: the agent, both verdicts, the files, and once more."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient
from pro_desk import FOLDER, built_image, row_file
from real_things import VENV, Console, calls, script_text

from results.run_directory import RunDirectory, list_runs

EVALS = str(VENV / "bin" / "evals")


@pytest.fixture(scope="module")
def dataset(client: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("pro")
    with built_image(client, folder) as image:
        rows = folder / "pro.json"
        rows.write_text(json.dumps([row_file() | {"image": image}]), "utf-8")
        yield rows


def only_run(runs: Path) -> RunDirectory:
    (run,) = list_runs(runs).found
    return run


def test_a_model_solves_it_and_sees_neither_the_solution_nor_its_hash(
    dataset: Path, console: Console, tmp_path: Path
) -> None:
    row, runs, script = row_file(), tmp_path / "runs", tmp_path / "script.yaml"
    gold = row["instance_id"].rpartition("-")[2].removesuffix("-vnan")
    looking = (
        f"pwd; git rev-parse HEAD; git log --all --oneline | wc -l; git cat-file -t {gold}; env; hostname; ls -a /"
    )
    solving = f"git apply <<'PATCH_END'\n{row['patch']}\nPATCH_END"
    script.write_text(script_text([calls(looking), calls(solving), {"content": "Solved."}]), "utf-8")
    command = [EVALS, "swebench", "--dataset", str(dataset), "--pro-scripts", str(FOLDER), "--runs", str(runs)]
    done = console.run([*command, "--grade-network", "none", "--backend", f"scripted:{script}"])
    assert done.code == 0, done.err
    run = only_run(runs)
    (trial,) = run.trials()
    assert [(verdict.verifier, verdict.resolved) for verdict in trial.verdicts()] == [
        ("official", True),
        ("hardened", True),
    ]
    names = {path.name for path in trial.verdict_files(1).iterdir()}
    assert names >= {"patch.diff", "stdout.log", "stderr.log", "output.json", "entryscript.sh", "report.json"}
    (one,) = trial.tries()
    text = one.trajectory_path.read_text("utf-8")
    events = [json.loads(line) for line in text.splitlines()]
    shown = json.dumps([event for event in events if event.get("type") not in ("start", "end")])
    assert "/app" in shown
    assert "Requirements:" in shown
    told = shown.replace(looking, "").replace(json.dumps(looking)[1:-1], "")
    assert row["instance_id"] not in told
    assert "fatal: Not a valid object name" in told
    assert run.manifest.sandbox["verifier_scripts_sha256"]

    again = console.run([EVALS, "regrade", run.manifest.run_id, "--pro-scripts", str(FOLDER), "--runs", str(runs)])
    assert again.code == 0, again.err
    assert [verdict.resolved for verdict in trial.verdicts()] == [True] * 4


def test_predictions_are_graded_and_exported(dataset: Path, console: Console, tmp_path: Path) -> None:
    row, runs, predictions = row_file(), tmp_path / "runs", tmp_path / "predictions.json"
    predictions.write_text(json.dumps([{"instance_id": row["instance_id"], "patch": row["patch"], "prefix": "a"}]))
    command = [EVALS, "grade", "--predictions", str(predictions), "--dataset", str(dataset), "--runs", str(runs)]
    done = console.run([*command, "--pro-scripts", str(FOLDER), "--grade-network", "none", "--verdicts", "official"])
    assert done.code == 0, done.err
    (trial,) = only_run(runs).trials()
    assert [verdict.resolved for verdict in trial.verdicts()] == [True]
    output = tmp_path / "pro.json"
    export = [EVALS, "export", only_run(runs).manifest.run_id, "--format", "pro", "--output", str(output)]
    assert console.run([*export, "--runs", str(runs)]).code == 0
    assert json.loads(output.read_text())[0]["instance_id"] == row["instance_id"]


def test_gold_is_reliable(dataset: Path, console: Console, tmp_path: Path) -> None:
    output = tmp_path / "reliable.json"
    command = [EVALS, "validate", "--dataset", str(dataset), "--pro-scripts", str(FOLDER), "--output", str(output)]
    done = console.run([*command, "--repeat", "1", "--grade-network", "none"])
    assert done.code == 0, done.out + done.err
    assert json.loads(output.read_text())["tasks"] == [row_file()["instance_id"]]


def test_scripts_that_are_not_there_are_said_before_a_run_is_begun(
    dataset: Path, console: Console, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    command = [EVALS, "swebench", "--dataset", str(dataset), "--agent", "gold", "--runs", str(runs)]
    done = console.run([*command, "--pro-scripts", str(tmp_path)])
    assert done.code == 2
    assert "run_scripts" in done.err
    assert not runs.exists() or not list_runs(runs).found
