"""What a run has recorded of trials that are over: nothing that happens later may change it."""

from pathlib import Path

from results.run_directory import RunDirectory, TrialDirectory
from results.score import trial_result

Finished = dict[Path, bytes]


def finished(run: RunDirectory) -> Finished:
    """What was recorded of trials that have all their verdicts."""
    whole = [trial for trial in run.trials() if has_all_verdicts(run, trial)]
    return {path: path.read_bytes() for trial in whole for path in trial.path.rglob("*") if _is_record(path)}


def has_all_verdicts(run: RunDirectory, trial: TrialDirectory) -> bool:
    return {verdict.verifier for verdict in trial.verdicts()} == set(run.manifest.verifiers)


def check_each_is_judged_once(run: RunDirectory) -> None:
    """Every trial has one verdict of each verifier, on its last try, which ended well."""
    for trial in run.trials():
        verdicts = trial.verdicts()
        assert sorted(verdict.verifier for verdict in verdicts) == sorted(run.manifest.verifiers)
        judged = {verdict.try_number for verdict in verdicts}
        assert judged == {trial.tries()[-1].number}  # no try after one that has its verdicts
        end = trial.tries()[-1].end()
        assert end is not None
        assert end.outcome.error in (None, "verifier")  # a verifier that failed has had another go at the same work
        assert trial_result(trial).state in ("resolved", "not resolved")


def _is_record(path: Path) -> bool:
    return path.is_file() and (path.name in ("trajectory.jsonl", "patch.diff") or path.parent.name == "verdicts")
