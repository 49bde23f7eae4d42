"""Harbor's job configurations: what they say here, and that nothing of them is passed over in silence."""

import json
from pathlib import Path

import pytest

from evals.terminal_bench.harbor_job import JobConfigError, load_jobs, option_values

WHOLE = """
job_name: night
n_attempts: 5
n_concurrent_trials: 8
timeout_multiplier: 2
retry: {max_retries: 3}
environment: {type: docker, override_cpus: 4, override_memory_mb: 8192}
agents:
  - name: terminus-2
    model_name: openai/qwen3.6-27b
    base_url: http://127.0.0.1:8000/v1
    model_api_key_name: MY_KEY
    kwargs: {temperature: 0.6, max_turns: 40}
datasets:
  - {path: tasks@2.0, task_names: ["a*", b], exclude_task_names: [ab], n_tasks: 7}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "job.yaml"


def test_all_that_both_have_is_taken_over(file: Path) -> None:
    file.write_text(WHOLE)
    job, notes = load_jobs([file])
    assert option_values(job) == {
        "attempts": 5,
        "concurrency": 8,
        "timeout_multiplier": 2,
        "tries": 4,
        "cpus": 4,
        "memory": "8192m",
        "agent": "terminus",
        "model": "qwen3.6-27b",
        "backend": "http://127.0.0.1:8000/v1",
        "api_key_env": "MY_KEY",
        "temperature": 0.6,
        "max_steps": 40,
        "dataset": "./tasks@2.0",
        "tasks": "a*,b",
        "exclude": "ab",
        "first": 7,
    }
    assert notes == [f"{file}: job_name: a run names itself"]


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("datasets: [{name: terminal-bench, version: '2.0'}]", "terminal-bench@2.0"),
        ("datasets: [{name: mine, version: '1', registry_path: r.json}]", "r.json#mine@1"),
        ("datasets: [{name: mine, version: '1', registry: {path: r.json}}]", "r.json#mine@1"),
        ("tasks: [{path: /one}]", "/one"),
        ("tasks: [{path: one, git_url: 'https://host/r', git_commit_id: abc}]", "git+https://host/r@abc:one"),
    ],
)
def test_where_tasks_come_from(file: Path, text: str, source: str) -> None:
    file.write_text(text)
    assert option_values(load_jobs([file])[0]) == {"dataset": source}


@pytest.mark.parametrize(("name", "ours"), [("oracle", "gold"), ("nop", "nop")])
def test_agents_without_a_model(file: Path, name: str, ours: str) -> None:
    file.write_text(json.dumps({"agents": [{"name": name}], "orchestrator": {"n_concurrent_trials": 2}}))
    assert option_values(load_jobs([file])[0]) == {"agent": ours, "concurrency": 2}


def test_a_later_file_wins_and_an_empty_list_clears(file: Path, tmp_path: Path) -> None:
    file.write_text("n_attempts: 2\nenvironment: {override_cpus: 2}\nagents: [{name: nop}]\n")
    second, third = tmp_path / "second.yaml", tmp_path / "third.yaml"
    second.write_text("n_attempts: 3\nenvironment: {override_memory_mb: 64}\nagents: []\n")
    third.write_text("agents: [{name: oracle}]\n")
    job, _ = load_jobs([file, second, third])
    assert option_values(job) == {"attempts": 3, "cpus": 2, "memory": "64m", "agent": "gold"}


def test_lists_of_two_files_are_appended(file: Path, tmp_path: Path) -> None:
    file.write_text("agents: [{name: nop}]\n")
    second = tmp_path / "second.yaml"
    second.write_text("agents: [{name: oracle}]\n")
    with pytest.raises(JobConfigError, match=r"job\.yaml, .*second\.yaml: agents: there are 2"):
        load_jobs([file, second])


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("n_attempt: 2", "n_attempt"),
        ("verifier: {disable: true}", "verifier.disable"),
        ("environment: {type: daytona}", "environment.type"),
        ("environment: {env: {A: b}}", "environment.env"),
        ("agents: [{name: claude-code}]", "agents"),
        ("agents: [{name: oracle, override_timeout_sec: 5}]", "override_timeout_sec"),
        ("agents: [{name: terminus-2, kwargs: {enable_summarize: false}}]", "enable_summarize"),
        ("datasets: [{name: org/name, version: '1'}]", "datasets"),
        ("datasets: [{path: a}, {path: b}]", "datasets"),
        ("datasets: [{path: a}]\ntasks: [{path: b}]", "datasets and tasks"),
        ("timeout_multiplier: 2\nverifier_timeout_multiplier: 3", "verifier_timeout_multiplier"),
        ("user_agent: {name: somebody}", "user_agent"),
        ("metrics: [{type: max}]", "metrics"),
        ("[]", "no keys"),
        ("a: [", "neither YAML nor JSON"),
    ],
)
def test_what_we_do_not_have_is_refused_with_file_and_key(file: Path, text: str, key: str) -> None:
    file.write_text(text)
    with pytest.raises(JobConfigError) as raised:
        load_jobs([file])
    assert str(file) in str(raised.value)
    assert key in str(raised.value)


def test_a_key_that_is_set_to_nothing_is_no_obstacle(file: Path) -> None:
    file.write_text("verifier: {disable: false, env: {}}\nartifacts: []\nextra_instructions: null\ndebug: null\n")
    job, notes = load_jobs([file])
    assert option_values(job) == {}
    assert notes == []


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(JobConfigError, match=r"absent\.yaml cannot be read: No such file"):
        load_jobs([tmp_path / "absent.yaml"])
