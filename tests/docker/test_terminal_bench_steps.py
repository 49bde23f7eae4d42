"""What the steps of a task leave to one another, and what becomes of a task whose steps do not all come about."""

from pathlib import Path

import pytest
from real_things import VENV, Console
from terminal_bench_desk import only_end

from results.run_directory import TrialDirectory, list_runs

REWARD = "#!/bin/bash\ncat /app/earned >/logs/verifier/reward.txt\n"


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """Two steps: the first leaves logs and a file of its own, the second needs that file to begin."""
    first = "echo note | tee /logs/agent/note /logs/artifacts/note /logs/artifacts/.hidden; echo 1 >earned"
    texts = {
        "task.toml": """
            [environment]
            docker_image = "unbroken/base:1"
            workdir = "/app"
            network_mode = "no-network"
            [[steps]]
            name = "one"
            [[steps]]
            name = "two"
            """,
        "steps/one/instruction.md": "Begin.\n",
        "steps/one/solution/solve.sh": f"#!/bin/bash\n{first}; touch ready\n",
        "steps/one/tests/test.sh": REWARD,
        "steps/two/instruction.md": "Go on.\n",
        "steps/two/workdir/setup.sh": "ls -A /logs/agent /logs/artifacts >seen; test -e ready\n",
        "steps/two/solution/solve.sh": "#!/bin/bash\ncp seen /logs/artifacts/\n",
        "steps/two/tests/test.sh": REWARD,
    }
    for name, text in texts.items():
        (tmp_path / "task" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "task" / name).write_text(text)
    return tmp_path / "task"


def solved(console: Console, task: Path) -> TrialDirectory:
    runs = task.parent / "runs"
    start = [str(VENV / "bin" / "evals"), "terminal-bench", "--dataset", str(task), "--runs", str(runs)]
    done = console.run([*start, "--agent", "gold", "--verdicts", "both"])
    assert done.code == 0, done
    (run,) = list_runs(runs).found
    (trial,) = run.trials()
    return trial


def test_a_step_begins_with_empty_logs_and_those_of_the_one_before_are_kept(console: Console, task: Path) -> None:
    trial = solved(console, task)

    steps = trial.tries()[-1].artifacts / "steps"
    assert (steps / "one/logs/artifacts/note").read_text() == "note\n"
    assert (steps / "two/logs/artifacts/seen").read_text().split() == ["/logs/agent:", "/logs/artifacts:"]
    assert not (steps / "two/logs/artifacts/note").exists()
    assert [verdict.resolved for verdict in trial.verdicts()] == [True, True]


@pytest.mark.parametrize(("strategy", "reward"), [("mean", 1), ("final", 0)])
def test_a_later_step_that_cannot_begin_is_no_error_of_ours(
    console: Console, task: Path, strategy: str, reward: float
) -> None:
    solution = task / "steps/one/solution/solve.sh"
    solution.write_text(solution.read_text().replace("touch ready", ":"))
    settings = task / "task.toml"
    settings.write_text(f'multi_step_reward_strategy = "{strategy}"\n' + settings.read_text())

    trial = solved(console, task)

    assert only_end(trial).outcome.error is None
    for verdict in trial.verdicts():
        assert (verdict.status, verdict.reward, verdict.resolved) == ("no_results", reward, False)
        assert [(step.name, step.status, step.reward) for step in verdict.steps] == [
            ("one", "graded", 1),
            ("two", "no_results", 0),
        ]
        assert "setup.sh failed (exit 1)" in verdict.detail


def test_a_first_step_that_cannot_begin_is_an_error(console: Console, task: Path) -> None:
    (task / "steps/one/workdir").mkdir()
    (task / "steps/one/workdir/setup.sh").write_text("echo no disk; exit 3\n")
    runs = task.parent / "runs"
    start = [str(VENV / "bin" / "evals"), "terminal-bench", "--dataset", str(task), "--runs", str(runs)]

    done = console.run([*start, "--agent", "gold"])

    assert done.code != 0
    (run,) = list_runs(runs).found
    (trial,) = run.trials()
    end = trial.tries()[-1].end()
    assert end is not None
    assert end.outcome.error == "sandbox"
    assert "setup.sh failed (exit 3): no disk" in end.outcome.detail
    assert trial.verdicts() == []
