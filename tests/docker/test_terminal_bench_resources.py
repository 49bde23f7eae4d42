"""What tasks and persons ask for of a machine that has less."""

from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from real_things import VENV, Console, Done
from test_terminal_bench import SUITE, only_run

TASK = SUITE / "hello-file"


@pytest.fixture
def engine(client: DockerClient) -> dict[str, Any]:
    return client.info()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def evaluate(console: Console, runs: Path, *arguments: str, dataset: Path = TASK) -> Done:
    command = [str(VENV / "bin" / "evals"), "terminal-bench", "--dataset", str(dataset), "--agent", "nop"]
    return console.run([*command, "--runs", str(runs), *arguments])


def test_more_than_there_is_is_refused_unless_a_person_takes_what_there_is(
    console: Console, engine: dict[str, Any], tmp_path: Path
) -> None:
    asked = ["--cpus", "4096", "--memory", "900t"]
    done = evaluate(console, tmp_path / "runs", *asked)
    assert done.code == 2, done
    assert f"4096 processors were asked for, and the Docker engine has {engine['NCPU']}" in done.err
    assert "--clip-resources" in done.err
    assert not (tmp_path / "runs").exists()

    done = evaluate(console, tmp_path / "runs", *asked, "--clip-resources")
    assert done.code == 0, done
    sandbox = only_run(tmp_path / "runs").manifest.sandbox
    assert (sandbox["cpus"], sandbox["memory"]) == (4096, "900t")
    assert sandbox["clipped_to"] == {"cpus": engine["NCPU"], "memory": engine["MemTotal"]}

    run = only_run(tmp_path / "runs").manifest.run_id
    again = console.run([str(VENV / "bin" / "evals"), "regrade", run, "--runs", str(tmp_path / "runs")])
    assert (again.code, "judged in its containers, which are gone" in " ".join(again.err.split())) == (2, True), again


def test_a_task_that_asks_for_too_much_is_named(console: Console, tmp_path: Path) -> None:
    task = tmp_path / "large"
    (task / "tests").mkdir(parents=True)
    (task / "tests" / "test.sh").write_text("#!/bin/sh\n")
    (task / "instruction.md").write_text("Do it.\n")
    (task / "task.toml").write_text('[environment]\ndocker_image = "unbroken/base:1"\nmemory_mb = 900000000\n')
    done = evaluate(console, tmp_path / "runs", dataset=task)
    assert done.code == 2, done
    assert "large: 900000000m of memory were asked for" in done.err
