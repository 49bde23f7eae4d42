"""Holds a run that was played back against the one that was recorded: every answer of a tool, and every verdict."""

from evals.recorded import recorded_try
from results.observations import observation_differences
from results.records.events import Event
from results.records.replay import ReplayedTrial, ReplayRecord
from results.run_directory import RunDirectory, TrialDirectory, TryDirectory
from results.trajectory import read_trajectory
from results.whole_files import write_whole

REPLAY = "replay.json"


def compare(recorded: RunDirectory, replayed: RunDirectory) -> ReplayRecord:
    """What the trials of `replayed` came to beside those of `recorded`, kept in its folder. Raises DamagedFileError.

    Answers are compared up to the step from which another model answered.
    """
    live_from = replayed.manifest.live_from
    trials = [_compared(recorded.trial(trial.task_id, trial.attempt), trial, live_from) for trial in replayed.trials()]
    record = ReplayRecord(run_id=recorded.manifest.run_id, live_from=live_from, trials=trials)
    write_whole(replayed.path / REPLAY, record.model_dump_json(indent=2).encode() + b"\n")
    return record


def _compared(recorded: TrialDirectory, replayed: TrialDirectory, live_from: int | None) -> ReplayedTrial:
    before, after = recorded_try(recorded), recorded_try(replayed)
    problem = _problem(before, after)
    if before is None or after is None:
        return ReplayedTrial(task_id=replayed.task_id, attempt=replayed.attempt, problem=problem)
    compared, differences = observation_differences(_events(before, live_from), _events(after, live_from))
    one, other = _verdicts(recorded, before), _verdicts(replayed, after)
    return ReplayedTrial(
        task_id=replayed.task_id,
        attempt=replayed.attempt,
        problem=problem,
        observations=compared,
        differences=differences,
        recorded={name: one[name] for name in one if name in other},
        replayed={name: other[name] for name in one if name in other},
    )


def _problem(before: TryDirectory | None, after: TryDirectory | None) -> str:
    if before is None:
        return "it was never recorded to its end"
    end = after.end() if after else None
    if end is None:
        return "it was not played back to its end"
    return f"{end.outcome.error} error: {end.outcome.detail}" if end.outcome.error else ""


def _verdicts(trial: TrialDirectory, directory: TryDirectory) -> dict[str, bool]:
    """The last word of each verifier on a try."""
    return {one.verifier: one.resolved for one in trial.verdicts() if one.try_number == directory.number}


def _events(directory: TryDirectory, live_from: int | None) -> list[Event]:
    """Those of a try before `live_from`, and of its steps in the order in which they began."""
    steps = [list(read_trajectory(path, _pass)) for path in directory.path.glob("steps/*/trajectory.jsonl")]
    whole = list(read_trajectory(directory.trajectory_path, _pass))
    events = whole + [event for step in sorted(steps, key=lambda events: events[0].time) for event in step]
    return [event for event in events if live_from is None or (getattr(event, "step", None) or 0) < live_from]


def _pass(_: str) -> None:
    """A last line that was cut is no matter here."""
