"""`evals terminal-bench --agent terminus` on real containers: a model at a terminal, from its first key on."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from real_things import VENV, Console, Done, Reply

from agent.terminus.prompt import TerminusPrompt
from evals.swebench.prompt_sets import text_sha256
from results.records.events import MessageEvent, ResponseEvent
from results.run_directory import RunDirectory, TrialDirectory, list_runs
from results.trajectory import read_trajectory

TASK = """schema_version = "1.1"
[agent]
timeout_sec = {seconds}
[verifier]
timeout_sec = 60
[environment]
docker_image = "unbroken/base:1"
workdir = "/app"
network_mode = "no-network"
"""
SERVED = """#!/bin/bash
for i in {1..200}; do [ "$(cat /app/answer.txt)" = '6 * 7 = 42' ] && break; sleep 0.1; done
before=$(cat /app/beat)
for i in {1..100}; do [ "$(cat /app/beat)" != "$before" ] && break; sleep 0.1; done
if [ "$(cat /app/answer.txt)" = '6 * 7 = 42' ] && [ "$(cat /app/beat)" != "$before" ]; then echo 1; else echo 0; fi \\
  >/logs/verifier/reward.txt
"""
IN_TIME = """#!/bin/bash
for i in {1..300}; do [ -e /app/background ] && break; sleep 0.1; done
if [ -e /app/background ] && [ ! -e /app/late ] && [ ! -e /app/typed-ahead ]; then echo 1; else echo 0; fi \\
  >/logs/verifier/reward.txt
"""
THOUGHT = "Ich denke: ü🙂\n"


def typing(*commands: tuple[str, float], complete: bool = False) -> Reply:
    said = {
        "analysis": "a", "plan": "p", "commands": [{"keystrokes": keys, "duration": wait} for keys, wait in commands],
        "task_complete": complete,
    }  # fmt: skip
    return {"content": json.dumps(said), "reasoning": THOUGHT}


SOLVES = [
    typing(("while :; do echo $((beat++)) >beat; sleep 0.1; done &\n", 0.1), ("cat >answer.txt\n", 0.1)),
    {"content": "I type it now.", "reasoning": THOUGHT},
    typing(("6 * 7 = 42\n", 0.1), ("C-d", 0.1)),
    typing(("cat answer.txt\n", 0.5), complete=True),
    typing(complete=True),
]
IS_LATE = [
    typing(
        ("(sleep 7; touch background) &\n", 0),
        ("bash\n", 0.5),
        ("sleep 6 | bash -c 'timeout 6 sleep 6; touch late'\n", 0.5),
        ("touch typed-ahead\n", 60),
    )
]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks"
    for name, instruction, seconds, test in (
        ("served", "Answer and serve.", 120, SERVED),
        ("in-time", "Take your time.", 4, IN_TIME),
    ):
        task = folder / name
        (task / "tests").mkdir(parents=True)
        (task / "task.toml").write_text(TASK.format(seconds=seconds))
        (task / "instruction.md").write_text(instruction)
        (task / "tests" / "test.sh").write_text(test)
    return folder


@pytest.fixture
def script(tmp_path: Path) -> Path:
    conversations = [{"when": "serve", "replies": SOLVES}, {"when": "time", "replies": IS_LATE}]
    path = tmp_path / "script.yaml"
    path.write_text(yaml.safe_dump({"scripted": "typist", "conversations": conversations}))
    return path


def evaluate(console: Console, dataset: Path, script: Path, runs: Path, *more: str) -> Done:
    command = [str(VENV / "bin" / "evals"), "terminal-bench", "--dataset", str(dataset), "--runs", str(runs)]
    return console.run([*command, "--agent", "terminus", "--backend", f"scripted:{script}", *more])


def messages(trial: TrialDirectory) -> tuple[list[str], list[ResponseEvent]]:
    events = list(read_trajectory(trial.tries()[-1].trajectory_path))
    said = [str(event.sent["content"]) for event in events if isinstance(event, MessageEvent)]
    return said, [event for event in events if isinstance(event, ResponseEvent)]


def test_a_model_at_a_terminal_earns_its_reward_and_none_for_what_is_late(
    console: Console, dataset: Path, script: Path, tmp_path: Path
) -> None:
    done = evaluate(console, dataset, script, tmp_path / "runs")

    assert done.code == 0, done
    assert "agent terminus, scripted/typist" in done.out
    (run,) = list_runs(tmp_path / "runs").found
    trials = {trial.task_id: trial for trial in run.trials()}
    assert {name: trial.verdicts()[0].reward for name, trial in trials.items()} == {"served": 1.0, "in-time": 1.0}
    ends = {name: trial.tries()[-1].end() for name, trial in trials.items()}
    assert {name: end.outcome.exit for name, end in ends.items() if end} == {
        "served": "submitted", "in-time": "limit:time",
    }  # fmt: skip
    told, responses = messages(trials["served"])
    assert "could not be read" in told[2]
    assert "You said that the task is complete" in told[-1]
    assert "cat answer.txt\n6 * 7 = 42\n" in told[-1]
    assert {response.received.reasoning for response in responses} == {THOUGHT}
    assert_manifest(run)
    assert_exports(console, run, tmp_path)


def assert_manifest(run: RunDirectory) -> None:
    agent, prompt = run.manifest.agent, TerminusPrompt.load()
    assert (agent.name, agent.prompt, agent.prompt_version, agent.toolset) == ("terminus", "terminus", 1, None)
    assert agent.task_prompt_sha256 == text_sha256(prompt.task)
    assert agent.further_prompts == prompt.texts
    assert agent.further_prompts_sha256["confirm"] == text_sha256(prompt.confirm)
    assert run.manifest.limits.steps == 1_000_000
    assert run.manifest.backend is not None


def assert_exports(console: Console, run: RunDirectory, folder: Path) -> None:
    output = folder / "atif"
    exporting = ["export", run.manifest.run_id, "--runs", str(folder / "runs"), "--format", "atif"]
    done = console.run([str(VENV / "bin" / "evals"), *exporting, "--output", str(output)])
    assert done.code == 0, done
    documents: list[dict[str, Any]] = [json.loads(path.read_text()) for path in output.glob("*.json")]
    assert {document["agent"]["name"] for document in documents} == {"terminus"}
    (served,) = [document for document in documents if len(document["steps"]) > 2]
    assert [step["source"] for step in served["steps"]] == ["user", "agent"] * 5
    assert served["steps"][1]["reasoning_content"] == THOUGHT


def test_what_is_about_tools_is_refused(console: Console, dataset: Path, script: Path, tmp_path: Path) -> None:
    options = ["--toolset", "bash", "--mcp", "x=true", "--prompt", "default", "--on-context-limit", "compact"]
    done = evaluate(console, dataset, script, tmp_path / "runs", *options)

    assert done.code == 2, done
    said = " ".join(done.err.split())
    assert "leave out --toolset, --mcp, --prompt, --on-context-limit compact" in said
    assert not list_runs(tmp_path / "runs").found
