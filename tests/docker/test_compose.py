"""Tasks of several containers, brought up by the real Compose plugin."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from real_things import PATIENCE, VENV, Console, Done, end

from results.records.verdict import Verdict
from results.run_directory import TrialDirectory, list_runs
from runners.docker_engine import TRIAL_LABEL

PROJECT = "com.docker.compose.project"
PLUGIN = Path(__file__).parents[2] / "scripts" / "compose_plugin"
TASK = Path(__file__).with_name("compose_task")
REACH = """python3 - <<'PYTHON'
import socket
own = socket.gethostbyname(socket.gethostname())
try:
    socket.create_connection((own.rpartition(".")[0] + ".1", PORT), 3)
    open("/app/reached.txt", "w").close()
except OSError as error:
    print("the machine is not reached:", error)
PYTHON
"""


@pytest.fixture(scope="session")
def plugin() -> dict[str, str]:
    """What is set where the plugin is found in a folder of its own."""
    looked = subprocess.run([PLUGIN, "--here"], capture_output=True, text=True, check=False)
    if looked.returncode != 0:
        pytest.skip(looked.stderr.strip())
    return {"DOCKER_CONFIG": looked.stdout.strip()} if looked.stdout.strip() else {}


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A task that is called as no other is, so that what was made for it can be told."""
    name = f"compose-{os.urandom(4).hex()}"
    return Path(shutil.copytree(TASK, tmp_path / name))


@pytest.fixture
def evaluate(console: Console, tmp_path: Path) -> Callable[..., Done]:
    def run(task: Path, *arguments: str, **environment: str) -> Done:
        return console.run(command(task, tmp_path / "runs", *arguments), **environment)

    return run


def command(task: Path, runs: Path, *arguments: str) -> list[str]:
    return [
        *(str(VENV / "bin" / "evals"), "terminal-bench", "--dataset", str(task), "--runs", str(runs)),
        *arguments,
    ]


def only_trial(runs: Path) -> TrialDirectory:
    (run,) = list_runs(runs).found
    (trial,) = run.trials()
    return trial


def containers_of(client: DockerClient, task: Path) -> list[dict[str, Any]]:
    api: Any = client.api
    return api.containers(all=True, filters={"label": f"{TRIAL_LABEL}={task.name}/1"})


def left_of(client: DockerClient, projects: set[str]) -> list[str]:
    """What the engine still has of these projects."""
    api: Any = client.api
    rows = [*api.networks(), *(api.volumes()["Volumes"] or ())]
    return [row["Name"] for row in rows if row["Name"].partition("_")[0] in projects]


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def judged(trial: TrialDirectory) -> dict[str, Verdict]:
    return {verdict.verifier: verdict for verdict in trial.verdicts()}


def test_services_are_there_for_the_agent_and_for_its_tests(
    evaluate: Callable[..., Done], tmp_path: Path, task: Path, plugin: dict[str, str], client: DockerClient
) -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        append(task / "solution" / "solve.sh", REACH.replace("PORT", str(listener.getsockname()[1])))
        append(task / "tests" / "test.sh", "[ ! -e /app/reached.txt ] || echo 0 >/logs/verifier/reward.txt\n")
        done = evaluate(task, "--agent", "gold", "--verdicts", "both", **plugin)

    assert done.code == 0, done
    trial = only_trial(tmp_path / "runs")
    verdicts = judged(trial)
    assert verdicts["official"].reward == 1, done
    assert not verdicts["official"].flags
    assert verdicts["quiesced"].reward == 0, "its tests ask a service, and main's files stand alone"
    artifacts = trial.tries()[-1].artifacts
    assert (artifacts / "web-kept.txt").read_text() == "asked\nweb\n", "a hook has run in the service"
    listed = {row["destination"]: row["service"] for row in json.loads((artifacts / "manifest.json").read_text())}
    assert listed == {"logs/artifacts": "main", "web-kept.txt": "web"}
    assert not containers_of(client, task)


def test_nobodys_work_earns_nothing(
    evaluate: Callable[..., Done], tmp_path: Path, task: Path, plugin: dict[str, str]
) -> None:
    done = evaluate(task, "--agent", "nop", **plugin)

    assert done.code == 0, done
    assert judged(only_trial(tmp_path / "runs"))["official"].reward == 0
    assert (only_trial(tmp_path / "runs").tries()[-1].artifacts / "web-kept.txt").read_text() == "web\n"


def test_an_interrupt_takes_every_container_network_and_volume_away(
    console: Console, tmp_path: Path, task: Path, plugin: dict[str, str], client: DockerClient
) -> None:
    (task / "solution" / "solve.sh").write_text("#!/bin/bash\nsleep 300\n")
    process = subprocess.Popen(
        command(task, tmp_path / "runs", "--agent", "gold"),
        env=console.all(plugin), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE
    while len(found := [row for row in containers_of(client, task) if row["State"] == "running"]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    labels = [row["Labels"] for row in found]
    projects = {label[PROJECT] for label in labels if PROJECT in label}
    assert left_of(client, projects)

    done = end(process, signal.SIGINT)

    assert done.code == 130, done
    assert not containers_of(client, task)
    assert not left_of(client, projects)


def test_without_the_plugin_the_task_is_refused_by_name(
    evaluate: Callable[..., Done], tmp_path: Path, task: Path
) -> None:
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin" / "docker"
    docker.write_text("#!/bin/sh\necho \"docker: 'compose' is not a docker command\" >&2; exit 1\n")
    docker.chmod(0o755)

    done = evaluate(task, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    assert done.code == 2
    assert f"{task.name}: environment/docker-compose.yaml: " in done.err
    assert "the Compose v2 plugin of the docker command is not installed" in done.err
    assert not (tmp_path / "runs").exists()
