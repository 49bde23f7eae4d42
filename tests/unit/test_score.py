"""A score counts the last verdict of its verifier; an error is no zero, and the unknown is not nothing."""

from pathlib import Path

import pytest

from results.facts import run_facts
from results.records.manifest import AgentDescription, BenchmarkDescription, Manifest
from results.records.outcome import ErrorSource, Exit, Outcome, TimeSplit, TryEnd
from results.records.usage import Usage
from results.records.verdict import Verdict
from results.run_directory import RunDirectory, TrialDirectory
from results.score import Bounds, Score, TrialState, score, trial_result, trial_results
from results.summary import describe, verdict_words

USAGE = Usage(prompt_tokens=1000, cached_tokens=750, output_tokens=100, reasoning_tokens=60)
TIME = TimeSplit(model=3.0, tools=2.0, harness=1.0)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    tasks = [f"task-{number}" for number in range(1, 7)]
    benchmark = BenchmarkDescription(name="demo", source="bundled", content_sha256="0" * 64, task_ids=tasks)
    manifest = Manifest(run_id="run", benchmark=benchmark, agent=AgentDescription(name="default"), harness_version="0")
    return RunDirectory.create(tmp_path, manifest)


def execute(
    trial: TrialDirectory,
    exit: Exit = "finished",  # noqa: A002 - its name in the record
    error: ErrorSource | None = None,
    steps: int = 1,
    cost: float | None = 0.25,
    usage: Usage = USAGE,
) -> None:
    started = trial.start_try()
    outcome = Outcome(
        exit=exit, error=error, steps=steps, cost=cost, usage=usage, time=TIME, detail=str(started.number)
    )
    number, attempt = started.number, trial.attempt
    started.write_end(
        TryEnd(task_id=trial.task_id, attempt=attempt, number=number, outcome=outcome, started=1.0, ended=2.0)
    )


def judge(
    trial: TrialDirectory,
    *,
    resolved: bool,
    verifier: str = "official",
    try_number: int = 1,
    infrastructure: str = "",
) -> None:
    trial.append_verdict(
        Verdict(
            number=trial.next_verdict_number(),
            try_number=try_number,
            verifier=verifier,
            verifier_version="1",
            status="graded",
            reward=float(resolved),
            resolved=resolved,
            infrastructure=infrastructure,
            started=1.0,
            ended=2.0,
        )
    )


def score_of(run: RunDirectory) -> Score:
    return score(trial_results(run))


def state(trial: TrialDirectory) -> TrialState:
    return trial_result(trial).state


def test_what_is_resolved_officially_alone_is_known(run: RunDirectory):
    trial = run.trial("task-1", 1)
    execute(trial)
    judge(trial, resolved=True)
    assert not trial_result(trial).resolved_officially_alone
    judge(trial, resolved=True, verifier="hardened")
    assert not trial_result(trial).resolved_officially_alone
    judge(trial, resolved=False, verifier="hardened")
    assert trial_result(trial).resolved_officially_alone
    execute(trial)
    judge(trial, resolved=True, try_number=2)
    assert not trial_result(trial).resolved_officially_alone  # the hardened verdict is on other work


def test_the_last_verdict_of_the_verifier_counts(run: RunDirectory):
    trial = run.trial("task-1", 1)
    execute(trial)
    judge(trial, resolved=False)
    assert state(trial) == "not resolved"
    judge(trial, resolved=True)
    judge(trial, resolved=False, verifier="hardened")
    assert state(trial) == "resolved"
    assert trial_result(trial, "hardened").state == "not resolved"


def test_a_limit_is_judged_like_any_other_exit(run: RunDirectory):
    trial = run.trial("task-1", 1)
    execute(trial, exit="limit:steps")
    judge(trial, resolved=True)
    assert score_of(run).resolved == 1


def test_an_error_without_a_verdict_is_shown_apart_with_its_bounds(run: RunDirectory):
    trials = run.trials()
    for trial, resolved in zip(trials[:3], [True, True, False], strict=True):
        execute(trial)
        judge(trial, resolved=resolved)
    execute(trials[3], exit="error", error="sandbox")
    scored = score_of(run)
    assert (scored.resolved, scored.n, scored.errors, scored.open) == (2, 3, 1, 2)
    assert scored.rate == pytest.approx(2 / 3)
    assert scored.bounds == Bounds(all_failed=2 / 4, all_resolved=3 / 4)


def test_an_error_whose_work_was_judged_counts_and_is_told(run: RunDirectory):
    trial = run.trial("task-1", 1)
    execute(trial, exit="error", error="backend")
    judge(trial, resolved=False)
    scored = score_of(run)
    assert (scored.n, scored.errors, scored.judged_errors, scored.bounds) == (1, 0, 1, None)


def test_a_broken_environment_counts_as_the_protocol_has_it_and_is_told_apart(run: RunDirectory):
    for number, reason in enumerate(("", "network", "", "disk full"), start=1):
        trial = run.trial(f"task-{number}", 1)
        execute(trial)
        judge(trial, resolved=number == 1, infrastructure=reason)
    counted = score_of(run)
    assert (counted.resolved, counted.n, counted.broken_environments) == (1, 4, 2)
    facts = run_facts(describe(run))
    begin = [name for name, _ in facts].index("environment")
    assert "without them the score would be 1/2 (50.0%), and at most 75.0%" in facts[begin][1]
    assert facts[begin + 1 : begin + 3] == [("", "task-2: network"), ("", "task-4: disk full")]
    assert verdict_words(trial_result(run.trial("task-2", 1))) == "not resolved (environment broke)"
    judge(run.trial("task-2", 1), resolved=False)  # judged anew, in a whole environment
    assert score_of(run).broken_environments == 1


def test_a_trial_is_open_until_its_last_try_has_come_to_something(run: RunDirectory):
    trial = run.trial("task-1", 1)
    assert state(trial) == "open"
    trial.start_try()
    assert state(trial) == "open"  # running, or killed
    execute(trial, exit="error", error="image")
    assert state(trial) == "error"
    trial.start_try()
    assert state(trial) == "open"  # tried again
    execute(trial)
    assert state(trial) == "open"  # not judged yet
    judge(trial, resolved=True, try_number=4)
    assert state(trial) == "resolved"


def test_the_facts_are_those_of_the_judged_try(run: RunDirectory):
    trial = run.trial("task-1", 1)
    execute(trial, exit="error", error="backend")
    execute(trial, exit="limit:time")
    execute(trial, exit="error", error="sandbox")
    assert (trial_result(trial).try_number, trial_result(trial).error) == (3, "sandbox")
    judge(trial, resolved=True, try_number=2)
    result = trial_result(trial)
    assert (result.try_number, result.exit, result.error, result.detail) == (2, "limit:time", None, "2")


def test_what_was_spent_counts_every_try_that_ended(run: RunDirectory):
    for trial in run.trials()[:2]:
        execute(trial, exit="error", error="backend")
        execute(trial)
        judge(trial, resolved=True, try_number=2)
    scored = score_of(run)
    assert scored.steps == 4
    assert scored.usage == Usage(prompt_tokens=4000, cached_tokens=3000, output_tokens=400, reasoning_tokens=240)
    assert scored.cached_share == 0.75
    assert scored.cost == 1.0
    assert scored.time == TimeSplit(model=12.0, tools=8.0, harness=4.0)


def test_a_cost_that_is_partly_unknown_is_unknown(run: RunDirectory):
    execute(run.trial("task-1", 1))
    execute(run.trial("task-2", 1), cost=None)
    assert score_of(run).cost is None


def test_a_try_that_asked_no_model_leaves_the_cost_known(run: RunDirectory):
    execute(run.trial("task-1", 1))
    execute(run.trial("task-1", 1), exit="error", error="image", steps=0, cost=None, usage=Usage())
    execute(run.trial("task-2", 1), cost=0.0)
    assert score_of(run).cost == 0.25


def test_tokens_that_no_server_reported_are_unknown(run: RunDirectory):
    execute(run.trial("task-1", 1), usage=Usage(prompt_tokens=10, output_tokens=5))
    scored = score_of(run)
    assert scored.usage == Usage(prompt_tokens=10, output_tokens=5)
    assert scored.cached_share is None


def test_before_anything_ran_there_is_no_rate_and_no_interval(run: RunDirectory):
    scored = score_of(run)
    assert (scored.n, scored.open) == (0, 6)
    assert (scored.rate, scored.interval, scored.bounds, scored.cost) == (None, None, None, None)
