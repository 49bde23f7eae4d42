"""What would make the same trial go otherwise by chance is pinned, and recorded."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from real_things import VENV, Console, calls

from evals.seeds import trial_seed
from results.records.events import StartEvent, ToolResultEvent
from results.run_directory import RunDirectory, TrialDirectory
from results.trajectory import read_trajectory

EVALS = str(VENV / "bin" / "evals")
pytestmark = pytest.mark.timeout(240)


def cut(line: str) -> None:
    pytest.fail(line)


def seed_of(trial: TrialDirectory) -> object:
    (start,) = [
        each for each in read_trajectory(trial.tries()[-1].trajectory_path, cut) if isinstance(each, StartEvent)
    ]
    assert start.backend is not None
    return start.backend.sampling.get("seed")


def answers(trial: TrialDirectory) -> str:
    events = read_trajectory(trial.tries()[-1].trajectory_path, cut)
    return "\n".join(str(each) for each in events if isinstance(each, ToolResultEvent))


def test_seed_clock_zone_locale_and_hashes(
    console: Console, dataset: Path, tmp_path: Path, write_script: Callable[..., str]
) -> None:
    script = write_script(calls('echo "$TZ $LANG $PYTHONHASHSEED"'), {"content": "It is done."})
    start = [EVALS, "swebench", "--dataset", str(dataset), "--runs", str(tmp_path / "runs"), "--backend", script]
    start += ["--attempts", "2", "--dialect", "vllm", "--verdicts", "official"]

    done = console.run([*start, "--run-id", "seeded", "--run-seed", "7"])
    assert done.code == 0, done
    run = RunDirectory.open(tmp_path / "runs" / "seeded")
    assert run.manifest.seed == 7
    assert run.manifest.sandbox["pinned"] == {"TZ": "UTC", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
    for trial in run.trials():
        assert seed_of(trial) == trial_seed(7, trial.task_id, trial.attempt)
        assert "UTC C.UTF-8 0" in answers(trial)

    other = console.run([*start, "--run-id", "seeded", "--run-seed", "8"])
    assert other.code == 2
    assert "seed" in other.err

    done = console.run([*start, "--run-id", "unseeded", "--run-seed", "none"])
    assert done.code == 0, done
    unseeded = RunDirectory.open(tmp_path / "runs" / "unseeded")
    assert json.loads((unseeded.path / "run.json").read_text())["seed"] is None
    assert {seed_of(trial) for trial in unseeded.trials()} == {None}

    wrong = console.run([*start, "--run-seed", "-1"])
    assert wrong.code == 2
    assert "'-1' is neither a number nor none" in wrong.err
