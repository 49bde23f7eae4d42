"""What an agent does to its container cannot win it another try, or break the harness: the tests judge it all the same.

The agent is each task's own solution: it is root in its container, as most agents are.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from real_things import VENV, Console

from results.records.outcome import TryEnd
from results.records.verdict import Verdict
from results.run_directory import TrialDirectory, list_runs

ZERO = "echo 0 >/logs/verifier/reward.txt"
ENDING_ALL = """cat >/tmp/ending.py <<'PROGRAM'
import os, signal
while True:
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in (1, os.getpid()):
            try:
                os.kill(int(name), signal.SIGKILL)
            except OSError:
                pass
PROGRAM
setsid python3 /tmp/ending.py & sleep 5"""
RESIZING = """cd /logs/artifacts
for name in a b c d; do (while :; do truncate -s 200M $name; truncate -s 0 $name; done) & done
disown -a; sleep 1"""

Trials = dict[str, TrialDirectory]
Judge = Callable[..., Trials]


@pytest.fixture
def judge(console: Console, tmp_path: Path) -> Judge:
    """Runs tasks, each given as its solution or as all that is peculiar to it."""

    def run(**tasks: str | dict[str, str]) -> Trials:
        for name, given in tasks.items():
            write_task(tmp_path / "tasks" / name, **({"solution": given} if isinstance(given, str) else given))
        runs = tmp_path / "runs"
        start = [str(VENV / "bin" / "evals"), "terminal-bench", "--dataset", str(tmp_path / "tasks")]
        done = console.run([*start, "--runs", str(runs), "--agent", "gold"])
        assert done.code == 0, done
        (found,) = list_runs(runs).found
        return {trial.task_id: trial for trial in found.trials()}

    return run


def write_task(
    folder: Path, *, solution: str, test: str = ZERO, first: str = "", image: str = 'docker_image = "unbroken/base:1"'
) -> None:
    for name, text in {
        "task.toml": f"{first}\n[agent]\ntimeout_sec = 20\n[verifier]\ntimeout_sec = 20\n[environment]\n{image}\n"
        'network_mode = "no-network"\n',
        "instruction.md": "Do it.\n",
        "solution/solve.sh": f"#!/bin/bash\n{solution}\n",
        "tests/test.sh": f"#!/bin/bash\n{test}\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def only_end(trial: TrialDirectory) -> TryEnd:
    """How the only try ended: another one would be what the agent wants."""
    (only,) = trial.tries()
    end = only.end()
    assert end is not None
    return end


def only_verdict(trial: TrialDirectory) -> Verdict:
    (verdict,) = trial.verdicts()
    return verdict


def artifacts(trial: TrialDirectory) -> dict[str, tuple[str, str]]:
    listed = json.loads((trial.tries()[-1].artifacts / "manifest.json").read_text())
    return {one["source"]: (one["status"], one["detail"]) for one in listed}


def test_what_keeps_the_work_from_being_collected_is_judged_all_the_same(judge: Judge) -> None:
    trials = judge(
        ending=ENDING_ALL,
        resizing=RESIZING,
        huge="truncate -s 9T /logs/artifacts/huge",
        in_the_way={"solution": "echo >/logs/artifacts/out", "first": 'artifacts = ["/logs/artifacts/out/report"]'},
    )

    for name, trial in trials.items():
        verdict = only_verdict(trial)
        assert (only_end(trial).outcome.error, verdict.status, verdict.reward) == (None, "graded", 0), name
    assert artifacts(trials["ending"])["/logs/artifacts"][0] == "failed"
    status, detail = artifacts(trials["huge"])["/logs/artifacts"]
    assert (status, "more than the 4294967296 bytes" in detail) == ("failed", True)
    assert not (trials["huge"].tries()[-1].artifacts / "logs" / "artifacts").exists()
    assert artifacts(trials["in_the_way"])["/logs/artifacts/out/report"][0] == "missing"
