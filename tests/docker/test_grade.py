"""Verdicts on patches that are there already: of any tool, and of a run once more."""

import asyncio
import json
import secrets
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from docker.errors import NotFound
from real_things import PATIENCE, VENV, Console, end

from evals.grade import cleaned_up
from evals.janitor import Janitor
from evals.swebench.dataset import Row
from evals.swebench.exports import export_predictions
from evals.swebench.rows import V5_COLUMNS
from results.run_directory import list_runs
from results.score import score, trial_results
from runners.docker_engine import TRIAL_LABEL
from runners.docker_sandbox import ContainerSettings, DockerSandbox

EVALS = str(VENV / "bin" / "evals")
UNAPPLIABLE = "diff --git a/no.py b/no.py\n--- a/no.py\n+++ b/no.py\n@@ -1 +1 @@\n-not there\n+nor here\n"


def test_predictions_of_any_tool_are_judged_and_judged_again(
    console: Console, demo_rows: dict[str, Row], tmp_path: Path
) -> None:
    names = ("lapse", "tally", "calends", "encore")
    rows, runs = [demo_rows[name] for name in names], tmp_path / "runs"
    dataset, predictions = tmp_path / "rows.json", tmp_path / "preds.jsonl"
    dataset.write_text(json.dumps([row.model_dump(mode="json") for row in rows]), "utf-8")
    patches = {"lapse": demo_rows["lapse"].patch, "tally": UNAPPLIABLE, "calends": ""}
    predictions.write_text(
        "".join(
            json.dumps(
                {"instance_id": demo_rows[name].instance_id, "model_name_or_path": "a/tool", "model_patch": patch}
            )
            + "\n"
            for name, patch in patches.items()
        ),
        "utf-8",
    )
    command = [EVALS, "grade", "--predictions", str(predictions), "--dataset", str(dataset), "--runs", str(runs)]
    done = console.run(command)
    assert done.code == 0, done.err
    assert "4 tasks, 1 of them without a prediction" in done.out
    (run,) = list_runs(runs).found
    assert run.manifest.agent.name == "a/tool"
    verdicts = {trial.task_id: trial.verdicts()[-1] for trial in run.trials()}
    found = {name: verdicts[demo_rows[name].instance_id] for name in names}
    assert {name: (one.status, one.resolved) for name, one in found.items()} == {
        "lapse": ("graded", True),
        "tally": ("patch_failed", False),
        "calends": ("empty_patch", False),
        "encore": ("empty_patch", False),
    }
    assert (score(trial_results(run)).n, score(trial_results(run)).errors) == (4, 0)
    assert console.run([str(VENV / "bin" / "results"), "show", run.manifest.run_id, "--runs", str(runs)]).code == 0

    before = {
        path: path.read_bytes() for path in run.path.rglob("*") if path.is_file() and path.name != "sessions.jsonl"
    }
    again = console.run([EVALS, "regrade", run.manifest.run_id, "--runs", str(runs)])
    assert again.code == 0, again.err
    assert {path: path.read_bytes() for path in before} == before
    for trial in run.trials():
        found = trial.verdicts()
        assert [(one.number, one.verifier) for one in found] == [
            (1, "official"), (2, "hardened"), (3, "official"), (4, "hardened"),
        ]  # fmt: skip
        assert len({(one.status, one.resolved) for one in found}) == 1


def test_a_sample_is_judged_again_in_its_own_order(console: Console, demo_rows: dict[str, Row], tmp_path: Path) -> None:
    runs, dataset, predictions = tmp_path / "runs", tmp_path / "rows.json", tmp_path / "preds.json"
    dataset.write_text(json.dumps([row.model_dump(mode="json") for row in demo_rows.values()]), "utf-8")
    said = [{"instance_id": row.instance_id, "model_patch": ""} for row in demo_rows.values()]
    predictions.write_text(json.dumps(said), "utf-8")
    command = [EVALS, "grade", "--predictions", str(predictions), "--dataset", str(dataset), "--runs", str(runs)]
    done = console.run([*command, "--sample", "5", "--seed", "1"])
    assert done.code == 0, done.err
    assert f"left out: {len(demo_rows) - 5} predictions for tasks that are not selected" in done.err
    (run,) = list_runs(runs).found
    assert score(trial_results(run)).n == 5
    sampled = run.manifest.benchmark.task_ids
    assert sampled != [row.instance_id for row in demo_rows.values() if row.instance_id in sampled]
    again = console.run([EVALS, "regrade", run.manifest.run_id, "--runs", str(runs)])
    assert again.code == 0, again.err
    assert all(len(trial.verdicts()) == 4 for trial in run.trials())


def test_rows_that_borrowed_columns_are_judged_again(
    console: Console, demo_rows: dict[str, Row], tmp_path: Path
) -> None:
    runs, older, newer, predictions = (tmp_path / name for name in ("runs", "old.json", "new.json", "preds.json"))
    row = demo_rows["lapse"].model_dump(mode="json")
    newer.write_text(json.dumps([row]), "utf-8")
    older.write_text(json.dumps([{key: row[key] for key in row if key not in V5_COLUMNS}]), "utf-8")
    predictions.write_text(json.dumps([{"instance_id": row["instance_id"], "model_patch": ""}]), "utf-8")
    command = [EVALS, "grade", "--predictions", str(predictions), "--dataset", str(older), "--runs", str(runs)]
    assert console.run([*command, "--complete-from", str(newer)]).code == 0
    (run,) = list_runs(runs).found
    regrade = [EVALS, "regrade", run.manifest.run_id, "--runs", str(runs)]
    again = console.run(regrade)
    assert again.code == 0, again.err

    newer.rename(tmp_path / "moved.json")
    gone = console.run(regrade)
    assert gone.code == 2
    assert "--dataset and --complete-from say where" in " ".join(gone.err.split())
    assert console.run([*regrade, "--complete-from", str(tmp_path / "moved.json")]).code == 0


def test_an_image_that_cannot_be_had_costs_its_own_task_alone(
    console: Console, client: DockerClient, demo_rows: dict[str, Row], tmp_path: Path
) -> None:
    runs, dataset, predictions = tmp_path / "runs", tmp_path / "rows.json", tmp_path / "preds.json"
    good, later = demo_rows["lapse"], f"test-{secrets.token_hex(4)}"
    rows = [
        good.model_dump(mode="json"),
        good.model_dump(mode="json") | {"instance_id": "demo__bad-1", "image": "Not/A/Name:1"},
        good.model_dump(mode="json") | {"instance_id": "demo__later-1", "image": f"127.0.0.1:9/{later}:1"},
    ]
    dataset.write_text(json.dumps(rows), "utf-8")
    said = [{"instance_id": row["instance_id"], "model_patch": good.patch} for row in rows]
    predictions.write_text(json.dumps(said), "utf-8")
    command = [EVALS, "grade", "--predictions", str(predictions), "--dataset", str(dataset), "--runs", str(runs)]
    done = console.run(command)
    assert done.code == 1
    assert "TaskGroup" not in done.err
    (run,) = list_runs(runs).found
    found = {result.task_id: (result.state, result.error) for result in trial_results(run)}
    assert found[good.instance_id] == ("resolved", None)
    assert found["demo__bad-1"][0] == found["demo__later-1"][0] == "error"

    images: Any = client.images
    images.get(good.image).tag(f"127.0.0.1:9/{later}", "1")
    try:
        again = console.run([EVALS, "regrade", run.manifest.run_id, "--runs", str(runs)])
    finally:
        images.remove(f"127.0.0.1:9/{later}:1")
    assert again.code == 1
    verdicts = {trial.task_id: trial.verdicts() for trial in run.trials()}
    assert [verdict.resolved for verdict in verdicts["demo__later-1"]] == [True, True]
    assert verdicts["demo__bad-1"] == []


def test_tasks_that_are_others_by_now_are_not_judged_again(
    console: Console, demo_rows: dict[str, Row], tmp_path: Path
) -> None:
    row, runs, dataset = demo_rows["lapse"], tmp_path / "runs", tmp_path / "rows.json"
    predictions = tmp_path / "preds.json"
    dataset.write_text(json.dumps([row.model_dump(mode="json")]), "utf-8")
    predictions.write_text(json.dumps({row.instance_id: {"instance_id": row.instance_id, "patch": ""}}), "utf-8")
    command = [EVALS, "grade", "--predictions", str(predictions), "--dataset", str(dataset), "--runs", str(runs)]
    assert console.run(command).code == 0
    (run,) = list_runs(runs).found
    dataset.write_text(json.dumps([row.model_dump(mode="json") | {"eval_script": "true"}]), "utf-8")
    again = console.run([EVALS, "regrade", run.manifest.run_id, "--runs", str(runs)])
    assert again.code == 2
    assert "no longer holds the tasks" in " ".join(again.err.split())
    (trial,) = run.trials()
    assert len(trial.verdicts()) == 2


@pytest.mark.parametrize("network", ["none", "bridge"])
def test_tests_have_the_network_that_is_asked_for_and_keep_it(
    console: Console, demo_rows: dict[str, Row], tmp_path: Path, network: str
) -> None:
    row, runs, dataset = demo_rows["lapse"], tmp_path / "runs", tmp_path / "rows.json"
    looking = row.eval_script.replace("\n", "\ncat /proc/net/dev\n", 1)
    dataset.write_text(json.dumps([row.model_dump(mode="json") | {"eval_script": looking}]), "utf-8")
    predictions = tmp_path / "preds.json"
    predictions.write_text(json.dumps([{"instance_id": row.instance_id, "model_patch": row.patch}]), "utf-8")
    command = [EVALS, "grade", "--predictions", str(predictions), "--dataset", str(dataset), "--runs", str(runs)]
    assert console.run([*command, "--grade-network", network, "--verdicts", "official"]).code == 0
    (run,) = list_runs(runs).found
    assert run.manifest.sandbox["verifier_network"] == network
    assert console.run([EVALS, "regrade", run.manifest.run_id, "--runs", str(runs)]).code == 0
    (trial,) = run.trials()
    assert [verdict.resolved for verdict in trial.verdicts()] == [True, True]
    for number in (1, 2):
        log = (trial.verdict_files(number) / "test_output.txt").read_text("utf-8")
        assert " lo:" in log
        assert ("eth0:" in log) == (network == "bridge")


def test_a_signal_ends_it_as_an_interrupt_does_and_keeps_what_was_judged(
    console: Console, client: DockerClient, demo_rows: dict[str, Row], tmp_path: Path
) -> None:
    good, runs = demo_rows["lapse"], tmp_path / "runs"
    dataset, predictions = tmp_path / "rows.json", tmp_path / "preds.json"
    slow = good.model_dump(mode="json") | {"instance_id": "demo__slow-1", "eval_script": "sleep 600\n"}
    unsaid = good.model_dump(mode="json") | {"instance_id": "demo__unsaid-1"}
    dataset.write_text(json.dumps([good.model_dump(mode="json"), slow, unsaid]), "utf-8")
    said = [{"instance_id": name, "model_patch": good.patch} for name in (good.instance_id, "demo__slow-1")]
    predictions.write_text(json.dumps(said), "utf-8")
    command = ["grade", "--predictions", str(predictions), "--dataset", str(dataset), "--verdicts", "official"]
    interrupt(console, client, [*command, "--runs", str(runs)])
    (run,) = list_runs(runs).found
    states = {result.task_id: (result.state, result.error) for result in trial_results(run)}
    assert states.pop("demo__unsaid-1") == ("error", "cancelled")
    assert states == {good.instance_id: ("resolved", None), "demo__slow-1": ("error", "cancelled")}
    exported = export_predictions(run, tmp_path / "all_preds.jsonl")
    assert exported.remarks == ["attempt 1: 1 tasks have no patch and are left out: demo__unsaid-1"]

    interrupt(console, client, ["regrade", run.manifest.run_id, "--runs", str(runs)])
    verdicts = {trial.task_id: trial.verdicts() for trial in run.trials()}
    assert [verdict.resolved for verdict in verdicts[good.instance_id]] == [True, True]
    assert verdicts["demo__slow-1"] == []


async def test_what_ends_it_again_waits_until_the_containers_are_gone(
    client: DockerClient, demo_rows: dict[str, Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, janitor = f"test-{secrets.token_hex(4)}", Janitor()
    settings = ContainerSettings(image=demo_rows["lapse"].image, directory="/testbed", run=run_id)
    known, unknown = [await DockerSandbox.start(client, settings) for _ in range(2)]
    close, begun, may_end = known.close, asyncio.Event(), asyncio.Event()

    async def close_slowly() -> None:
        begun.set()
        await may_end.wait()
        await close()

    monkeypatch.setattr(known, "close", close_slowly)
    janitor.close(known)
    cleaning = asyncio.create_task(cleaned_up(client, janitor, run_id))
    await begun.wait()
    cleaning.cancel()
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await cleaning
    assert not any(is_there(client, sandbox.container_id) for sandbox in (known, unknown))


def interrupt(console: Console, client: DockerClient, command: Sequence[str]) -> None:
    """Start a command, end it while it judges the slow task, and see that it left no container."""
    process = subprocess.Popen(
        [EVALS, *command, "--verifications", "1"],
        env=console.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE
    containers: Any = client.containers
    while not (found := containers.list(filters={"label": f"{TRIAL_LABEL}=demo__slow-1"}, ignore_removed=True)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.05)  # `timeout` and CI systems send a second one
    done = end(process, signal.SIGTERM)
    assert done.code == 130
    assert "what was judged until then is kept" in done.err
    assert not any(is_there(client, container.id) for container in found)


def is_there(client: DockerClient, identifier: str) -> bool:
    containers: Any = client.containers
    try:
        containers.get(identifier)
    except NotFound:
        return False
    return True
