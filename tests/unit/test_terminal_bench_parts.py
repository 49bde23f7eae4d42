"""How the steps of a task follow one another, and what their rewards and outcomes mean together."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.terminal_bench.agents import limits_for
from evals.terminal_bench.image import verifier_image
from evals.terminal_bench.judging import Finding, as_one, step_verdicts
from evals.terminal_bench.part import Part, parts_of, together
from evals.terminal_bench.runnable import obstacles
from evals.terminal_bench.steps import merged
from evals.terminal_bench.survivors import command_lines
from evals.terminal_bench.task_directory import TaskDirectory, read_task
from evals.terminal_bench.task_file import AgentTable, VerifierTable
from results.records.manifest import LimitsDescription
from results.records.outcome import Outcome, TimeSplit
from results.records.usage import Usage

SERVERS = "[environment]\nmcp_servers = ["
NUMBERS = st.floats(min_value=-1, max_value=1, allow_nan=False)
REWARDS = st.dictionaries(st.sampled_from(["reward", "style", "speed"]), NUMBERS, min_size=1)


@pytest.fixture
def task(tmp_path: Path) -> Path:
    for name in ("tests", "environment", "steps/one", "steps/two/tests", "steps/two/solution", "steps/two/workdir"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "environment" / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "tests" / "test.sh").write_text("true\n")
    for step in ("one", "two"):
        (tmp_path / "steps" / step / "instruction.md").write_text(f"Do {step}.\n")
    return tmp_path


def read(task: Path, text: str) -> TaskDirectory:
    (task / "task.toml").write_text(text)
    return read_task(task)


def test_a_step_has_what_the_task_says_where_it_says_nothing(task: Path) -> None:
    settings = """
    [agent]
    timeout_sec = 10
    user = "worker"
    [verifier]
    timeout_sec = 20
    env = {A = "1"}
    [[steps]]
    name = "one"
    [[steps]]
    name = "two"
    agent = {timeout_sec = 5}
    verifier = {timeout_sec = 7, env = {B = "2"}}
    """
    one, two = parts_of(read(task, settings))

    assert (one.instruction, two.instruction) == ("Do one.\n", "Do two.\n")
    assert (one.agent.timeout_sec, two.agent.timeout_sec) == (10, 5)
    assert (one.agent.user, two.agent.user) == ("worker", "worker")
    assert (one.verifier.env, two.verifier.env) == ({"A": "1"}, {"B": "2"})
    # The format's own default, and not the task's: Harbor 0.25.0 behaves so.
    assert (one.verifier.timeout_sec, two.verifier.timeout_sec) == (600, 7)
    assert one.tests == [task / "tests"]
    assert two.tests == [task / "tests", task / "steps" / "two" / "tests"]
    assert (one.workdir, two.workdir) == (None, task / "steps" / "two" / "workdir")


def test_a_task_without_steps_is_one_part(task: Path) -> None:
    (task / "instruction.md").write_text("Do it.\n")

    (part,) = parts_of(read(task, "[agent]\ntimeout_sec = 3\n"))

    assert (part.name, part.instruction, part.agent.timeout_sec) == ("", "Do it.\n", 3)


@pytest.mark.parametrize(
    ("gate", "rewards", "lets_on"),
    [
        (None, {}, True),
        (0.5, {"reward": 0.5}, True),
        (0.5, {"reward": 0.4}, False),
        (0.5, {}, False),
        ({"style": 1.0}, {"reward": 1, "style": 1}, True),
        ({"style": 1.0}, {"reward": 1}, False),
    ],
)
def test_a_gate_is_passed_by_what_was_earned(
    gate: float | dict[str, float] | None, rewards: dict[str, float], lets_on: bool
) -> None:
    part = Part("a", "", AgentTable(), VerifierTable(), None, [], [], Path(), None, min_reward=gate)

    assert part.lets_on(rewards) is lets_on


def test_rewards_of_steps_are_their_mean_or_the_last() -> None:
    steps = {"one": {"reward": 1.0, "style": 0.5}, "two": {"reward": 0.0}}

    assert together(steps, only_last=False) == {"reward": 0.5, "style": 0.25}
    assert together(steps, only_last=True) == {"reward": 0.0}
    assert together({}, only_last=True) == {}


@given(steps=st.dictionaries(st.text(min_size=1, max_size=3), REWARDS, min_size=1, max_size=4), only_last=st.booleans())
def test_together_never_exceeds_what_was_earned(steps: dict[str, dict[str, float]], only_last: bool) -> None:
    for key, value in together(steps, only_last=only_last).items():
        earned = [step.get(key, 0.0) for step in steps.values()]
        assert min(earned) - 1e-9 <= value <= max(earned) + 1e-9


def test_findings_on_steps_are_one_with_each_named() -> None:
    findings = {
        "one": Finding("graded", "", {"reward": 1.0}),
        "two": Finding("timed_out", "the tests did not end within 2 seconds", flags=["room:ended"]),
    }
    one = as_one(findings, only_last=False, is_whole=True)

    assert (one.status, one.resolved) == ("timed_out", False)
    assert one.rewards == {"reward": 1.0}
    assert one.detail == "one: 1; two: 0 (the tests did not end within 2 seconds)"
    assert list(one.flags) == ["room:ended"]
    assert [(step.name, step.status, step.reward, step.flags) for step in step_verdicts(findings)] == [
        ("one", "graded", 1.0, []),
        ("two", "timed_out", 0.0, ["room:ended"]),
    ]
    assert step_verdicts({"": findings["one"]}) == []


def test_who_did_not_come_to_the_last_step_has_not_resolved_the_task() -> None:
    findings = {"one": Finding("graded", "", {"reward": 1.0})}

    assert as_one(findings, only_last=False, is_whole=True).resolved
    assert not as_one(findings, only_last=False, is_whole=False).resolved


def test_the_last_step_that_was_begun_counts_even_if_it_earned_nothing() -> None:
    findings = {"one": Finding("graded", "", {"reward": 1.0}), "two": Finding("no_results", "no reward was written")}

    assert as_one(findings, only_last=True, is_whole=True).reward == 0
    assert as_one(findings, only_last=False, is_whole=True).reward == 1


@pytest.mark.parametrize(
    ("of_task", "of_step", "dockerfile", "image"),
    [
        ("checks:1", "", "", "checks:1"),
        ("checks:1", "", "tests", "checks:1"),
        ("checks:1", "", "steps/two/tests", "unbroken/task"),
        ("checks:1", "checks:2", "steps/two/tests", "checks:2"),
        ("", "", "tests", "unbroken/task"),
        ("", "", "", "work:1"),
    ],
)
def test_the_image_of_a_separate_verifier_is_the_nearest(
    task: Path, of_task: str, of_step: str, dockerfile: str, image: str
) -> None:
    if dockerfile:
        (task / dockerfile / "Dockerfile").write_text("FROM scratch\n")

    def verifier(name: str) -> str:
        return f"environment = {{docker_image = '{name}'}}" if name else "environment_mode = 'separate'"

    settings = f"""
    [environment]
    docker_image = "work:1"
    [verifier]
    {verifier(of_task)}
    [[steps]]
    name = "two"
    verifier = {{ {verifier(of_step) if of_step else ""} }}
    """
    read_in = read(task, settings)
    (part,) = parts_of(read_in)

    assert verifier_image(read_in, part.verifier, part.tests).name.partition(":" if "/" in image else "|")[0] == image


def test_an_environment_of_its_own_makes_the_verifier_of_a_step_a_separate_one(task: Path) -> None:
    settings = """
    [verifier]
    environment_mode = "shared"
    [[steps]]
    name = "one"
    [[steps]]
    name = "two"
    verifier = {environment = {docker_image = "checks:1"}}
    """
    assert [part.verifier.mode for part in parts_of(read(task, settings))] == ["shared", "separate"]


def test_outcomes_of_steps_add_up() -> None:
    first = Outcome(
        exit="finished", steps=2, usage=Usage(prompt_tokens=5), cost=1.0, time=TimeSplit(model=1), counts={"a": 1}
    )
    last = Outcome(
        exit="limit:time", steps=1, usage=Usage(prompt_tokens=7), cost=0.5, time=TimeSplit(tools=2), counts={"a": 2}
    )

    both = merged([first, last])

    assert (both.exit, both.steps, both.usage.prompt_tokens, both.cost) == ("limit:time", 3, 12, 1.5)
    assert (both.time.total, both.counts) == (3, {"a": 3})


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[verifier.env]\nKEY = '${GONE}'\n", "verifier.env"),
        ("[[steps]]\nname = 'one'\nverifier = {env = {KEY = '${GONE}'}}\n", "steps[0].verifier.env"),
        ("[verifier.environment]\nenv = {KEY = '${GONE}'}\n", "verifier.environment.env"),
        (f"{SERVERS}{{name = 'a', url = 'https://example.org'}}]\n", "environment.mcp_servers[0]"),
        (f"{SERVERS}{{name = 'a', url = 'http://${{GONE}}/'}}]\n", "environment.mcp_servers[0]"),
        (f"{SERVERS}{{name = 'a b', url = 'http://a/'}}]\n", "environment.mcp_servers[0]"),
        (
            f"{SERVERS}{{name = 'a', url = 'http://a/'}}, {{name = 'a', url = 'http://b/'}}]\n",
            "environment.mcp_servers[1]",
        ),
    ],
)
def test_what_cannot_be_run_is_named_by_its_key(task: Path, text: str, key: str) -> None:
    (task / "instruction.md").write_text("Do it.\n")

    assert [problem.key for problem in obstacles(read(task, text), {}, "default")] == [key]


@pytest.mark.parametrize("agent", ["gold", "nop"])
def test_who_uses_no_tools_needs_none_of_the_servers(task: Path, agent: str) -> None:
    (task / "instruction.md").write_text("Do it.\n")

    assert obstacles(read(task, f"{SERVERS}{{name = 'a', url = 'https://${{GONE}}/'}}]\n"), {}, agent) == []


def test_what_can_be_run_has_no_obstacle(task: Path) -> None:
    (task / "instruction.md").write_text("Do it.\n")

    assert obstacles(read(task, "[verifier.env]\nKEY = '${HERE:-x}'\n"), {}, "default") == []


def test_shells_of_the_harness_are_not_what_an_agent_left() -> None:
    rows = [
        ["1", '/bin/sh -c IFS= read -r text; eval "$text"'],
        ["9", 'bash --noprofile -c eval "$(</dev/fd/9)"; eval "$_worker_loop" bash'],
        ["10", '/bin/sh -c eval "$SERVICE_WORKER"'],
        ["11", "nginx: master process " + "x" * 300],
    ]

    (line,) = command_lines(rows)

    assert line.startswith("nginx: master process")
    assert len(line) == 200
    assert command_lines([["1", "sleep 1"]] * 103)[-1] == "… and 3 more"


def test_the_agents_time_is_what_a_person_says_else_what_the_task_gives() -> None:
    stated, silent = LimitsDescription(seconds=10800), LimitsDescription()
    assert limits_for(stated, 900.0).seconds == limits_for(stated, None).seconds == 10800
    assert limits_for(silent, 900.0).seconds == 900
    assert limits_for(silent, None).seconds is None
