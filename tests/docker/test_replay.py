"""A run is played back without a model: it comes to the same, and what does not is named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from real_things import VENV, Console, Done, calls
from tries_desk import solving

from evals.swebench.dataset import Row
from results.records.replay import ReplayRecord
from results.run_directory import RunDirectory, list_runs

EVALS = str(VENV / "bin" / "evals")
VOLATILE = "date; date -Is; sh -c 'echo pid $$'; python3 -c 'print(object())'; mktemp -d; echo always the same"
DONE = {"content": "It is done."}


@pytest.fixture
def replay(console: Console, tmp_path: Path) -> Callable[..., Done]:
    def run(*options: str) -> Done:
        return console.run([EVALS, "replay", "recorded", "--runs", str(tmp_path / "runs"), *options])

    return run


@pytest.fixture
def recorded(console: Console, demo_rows: dict[str, Row], tmp_path: Path, write_script: Callable[..., str]) -> Path:
    """The folder of a run of two attempts at a task, whose model can no longer be had."""
    row = demo_rows["tally"]
    (tmp_path / "rows.json").write_text(json.dumps([row.model_dump(mode="json")]), "utf-8")
    script = write_script(calls(VOLATILE), calls(solving(row), "git diff | head -5"), DONE)
    command = [EVALS, "swebench", "--dataset", str(tmp_path / "rows.json"), "--runs", str(tmp_path / "runs")]
    done = console.run([*command, "--backend", script, "--attempts", "2", "--run-id", "recorded"])
    assert done.code == 0, done
    Path(script.removeprefix("scripted:")).unlink()
    return tmp_path / "runs" / "recorded"


def replayed(recorded: Path) -> ReplayRecord:
    (run,) = [each for each in list_runs(recorded.parent).found if each.manifest.replay_of == "recorded"]
    return ReplayRecord.model_validate_json((run.path / "replay.json").read_bytes())


def trajectory(recorded: Path, attempt: int) -> Path:
    run = RunDirectory.open(recorded)
    return next(trial for trial in run.trials() if trial.attempt == attempt).tries()[-1].trajectory_path


def test_a_run_comes_to_the_same_with_what_its_model_said(recorded: Path, replay: Callable[..., Done]) -> None:
    before = {path: path.read_bytes() for path in recorded.rglob("*") if path.is_file()}

    done = replay()

    assert done.code == 0, done
    assert "2 of 2 trials came to the same as in recorded, verdicts and observations (6 were compared)" in done.out
    assert {path: path.read_bytes() for path in recorded.rglob("*") if path.is_file()} == before
    for trial in replayed(recorded).trials:
        assert trial.agrees
        assert trial.recorded == trial.replayed == {"official": True, "hardened": True}


def test_a_byte_that_differs_and_a_verdict_that_differs_are_named(recorded: Path, replay: Callable[..., Done]) -> None:
    changed = trajectory(recorded, 1)
    text = changed.read_text("utf-8")
    assert text.count("\\nalways the same") == 1
    changed.write_text(text.replace("\\nalways the same", "\\nalways the sane"), "utf-8")
    verdict = trajectory(recorded, 2).parents[2] / "verdicts" / "1.json"
    verdict.write_text(verdict.read_text().replace('"resolved": true', '"resolved": false'))

    done = replay("--concurrency", "1")

    assert done.code == 1, done
    assert "attempt 1: step 1, bash, answer 1 differs:\n  - always the sane\n  + always the same\n" in done.out
    assert "attempt 2: other verdicts: official not resolved, hardened resolved; now official resolved" in done.out
    assert "0 of 2 trials came to the same" in done.out
    first, second = replayed(recorded).trials
    assert (len(first.differences), second.differences) == (1, [])


def test_what_cannot_be_played_back_is_said(recorded: Path, replay: Callable[..., Done]) -> None:
    shorter = trajectory(recorded, 1)
    lines = shorter.read_text("utf-8").splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if json.loads(line)["type"] == "response")
    shorter.write_text("".join(lines[:last] + lines[last + 1 :]), "utf-8")

    done = replay()

    assert done.code == 1, done
    assert "attempt 1: not replayed: backend error: the recording ends here" in done.out
    assert "1 of 2 trials came to the same" in done.out


def test_from_a_step_on_another_model_answers(
    recorded: Path, replay: Callable[..., Done], write_script: Callable[..., str]
) -> None:
    other = write_script(calls("never asked"), calls("git diff | wc -l"), DONE)
    done = replay("--live-from", "2", "--backend", other)

    assert done.code == 0, done
    assert "2 of 2 trials went as in recorded up to step 2 (2 observations were compared)" in done.out
    assert "attempt 1: other verdicts: official resolved, hardened resolved; now official not resolved" in done.out
    (fork,) = [each for each in list_runs(recorded.parent).found if each.manifest.replay_of == "recorded"]
    assert fork.manifest.live_from == 2
    for trial in fork.trials():
        text = trial.tries()[-1].trajectory_path.read_text()
        assert "always the same" in text
        assert "git diff | wc -l" in text
        assert "never asked" not in text


def test_a_trial_that_went_otherwise_before_the_step_is_no_fork_of_it(
    recorded: Path, replay: Callable[..., Done], write_script: Callable[..., str]
) -> None:
    changed = trajectory(recorded, 1)
    changed.write_text(changed.read_text("utf-8").replace("\\nalways the same", "\\nalways the sane"), "utf-8")
    other = write_script(DONE, DONE, DONE)
    done = replay("--live-from", "3", "--backend", other)
    assert done.code == 1, done
    assert "attempt 1: step 1, bash, answer 1 differs" in done.out
    assert "1 of 2 trials went as in recorded up to step 3 (6 observations were compared)" in done.out


def test_a_fork_behind_the_end_goes_on_there(
    recorded: Path, replay: Callable[..., Done], write_script: Callable[..., str]
) -> None:
    done = replay("--live-from", "9", "--backend", write_script(DONE))
    assert done.code == 0, done
    assert "2 of 2 trials went as in recorded up to step 9" in done.out


def test_only_a_model_can_take_over(console: Console, demo_rows: dict[str, Row], tmp_path: Path) -> None:
    row = demo_rows["tally"]
    (tmp_path / "rows.json").write_text(json.dumps([row.model_dump(mode="json")]), "utf-8")
    command = [EVALS, "swebench", "--dataset", str(tmp_path / "rows.json"), "--runs", str(tmp_path / "runs")]
    assert console.run([*command, "--agent", "nop", "--run-id", "recorded"]).code == 0
    done = console.run([EVALS, "replay", "recorded", "--runs", str(tmp_path / "runs"), "--live-from", "1"])
    assert done.code == 2, done
    assert "is of nop, which asks no model" in done.err


def test_steps_of_a_task_are_played_back_each_on_its_own(
    console: Console, tmp_path: Path, write_script: Callable[..., str], replay: Callable[..., Done]
) -> None:
    settings = '[environment]\ndocker_image = "unbroken/base:1"\nnetwork_mode = "no-network"\n'
    texts = {"task.toml": settings + '[[steps]]\nname = "one"\n[[steps]]\nname = "another"\n'}
    for name in ("one", "another"):
        texts[f"steps/{name}/instruction.md"] = "Do it.\n"
        texts[f"steps/{name}/tests/test.sh"] = "#!/bin/bash\ncp /earned /logs/verifier/reward.txt\n"
    for name, text in texts.items():
        path = tmp_path / "task" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    script = write_script(calls("echo 1 | tee /earned"), DONE)
    command = [EVALS, "terminal-bench", "--dataset", str(tmp_path / "task"), "--runs", str(tmp_path / "runs")]
    done = console.run([*command, "--backend", script, "--run-id", "recorded", "--verdicts", "both"])
    assert done.code == 0, done

    done = replay()

    assert done.code == 0, done
    assert "1 of 1 trials came to the same as in recorded, verdicts and observations (2 were compared)" in done.out
