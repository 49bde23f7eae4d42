"""Real tasks of Terminal-Bench, on local stand-ins for their images.

The tasks are no part of the repository: $UNBROKEN_TERMINAL_BENCH names a folder with a task in each folder below, and
scripts/prepare_terminal_bench makes the images (docs/terminal-bench-checks.md).
"""

import os
from pathlib import Path

import pytest
from real_things import VENV, Console

from results.run_directory import list_runs

TASKS = os.environ.get("UNBROKEN_TERMINAL_BENCH", "")


@pytest.mark.skipif(not TASKS, reason="$UNBROKEN_TERMINAL_BENCH names no folder with tasks")
@pytest.mark.parametrize(("agent", "resolved"), [("gold", True), ("nop", False)])
def test_a_real_task_is_solved_by_its_solution_and_not_by_nothing(
    console: Console, tmp_path: Path, agent: str, resolved: bool
) -> None:
    console.patience = 3600
    command = [str(VENV / "bin" / "evals"), "terminal-bench", "--dataset", TASKS, "--agent", agent]

    done = console.run([*command, "--runs", str(tmp_path / "runs")])

    assert done.code == 0, done
    (run,) = list_runs(tmp_path / "runs").found
    found = {trial.task_id: verdict.resolved for trial in run.trials() for verdict in trial.verdicts()}
    assert found == dict.fromkeys(run.manifest.benchmark.task_ids, resolved)
