"""What tests of Terminal-Bench's trials share: tasks that are small, and what became of them."""

from collections.abc import Callable
from pathlib import Path

from real_things import VENV, Console

from results.records.outcome import TryEnd
from results.records.verdict import Verdict
from results.run_directory import TrialDirectory, list_runs

ZERO = "echo 0 >/logs/verifier/reward.txt"
BASE = "FROM unbroken/base:1\n"
Trials = dict[str, TrialDirectory]
Judge = Callable[..., Trials]


def judge_with(console: Console, folder: Path, *options: str) -> Judge:
    """What runs tasks with their own solutions; each is given as its solution, or as arguments of `write_task`."""

    def run(**tasks: str | dict[str, str]) -> Trials:
        for name, given in tasks.items():
            write_task(folder / "tasks" / name, **({"solution": given} if isinstance(given, str) else given))
        runs = folder / "runs"
        start = [str(VENV / "bin" / "evals"), "terminal-bench", "--dataset", str(folder / "tasks")]
        done = console.run([*start, "--runs", str(runs), "--agent", "gold", *options])
        assert done.code == 0, done
        (found,) = list_runs(runs).found
        return {trial.task_id: trial for trial in found.trials()}

    return run


def write_task(
    folder: Path, *, solution: str = "true", test: str = ZERO, first: str = "", verifier: str = "", recipe: str = ""
) -> None:
    """Write a task whose container is the base image's, or that of a Dockerfile."""
    image = "" if recipe else 'docker_image = "unbroken/base:1"'
    texts = {
        "task.toml": f"{first}\n[agent]\ntimeout_sec = 20\n[verifier]\ntimeout_sec = 20\n{verifier}\n"
        f'[environment]\n{image}\nnetwork_mode = "no-network"\n',
        "instruction.md": "Do it.\n",
        "solution/solve.sh": f"#!/bin/bash\n{solution}\n",
        "tests/test.sh": f"#!/bin/bash\n{test}\n",
    }
    for name, text in (texts | ({"environment/Dockerfile": recipe} if recipe else {})).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def only_end(trial: TrialDirectory) -> TryEnd:
    """How the only try ended: another one would be what an agent wants that fails."""
    (only,) = trial.tries()
    end = only.end()
    assert end is not None
    return end


def only_verdict(trial: TrialDirectory) -> Verdict:
    """The only verdict."""
    (verdict,) = trial.verdicts()
    return verdict


def printed(trial: TrialDirectory, number: int = 1) -> str:
    """What the tests of a verdict printed."""
    return (trial.verdict_files(number) / "verifier" / "test-stdout.txt").read_text()
