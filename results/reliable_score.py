"""The score of a run on the tasks that can be believed, beside that on all of them."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from results import wording
from results.record_files import read_record
from results.records.base import Record
from results.records.reliability import Reliability, ReliableSet
from results.run_directory import RunDirectory
from results.score import HARDENED, OFFICIAL, Score, score, trial_results

_REASONS: dict[Reliability, str] = {
    "flaky": "flaky",
    "broken": "broken",
    "solved_by_nothing": "solved by nothing at all",
    "unknown": "that could not be looked at",
}


class ReliableScoreError(ValueError):
    """The reliable set says nothing about this run."""


class ReliableScore(Record):
    """The score over the trials of reliable tasks; what the other tasks are."""

    file: str
    tasks: int
    """Tasks of the run that are in the reliable set."""
    score: Score
    hardened: Score | None = None
    """None where the run has no hardened verdicts."""
    left_out: dict[Reliability, int] = Field(default_factory=dict[Reliability, int])
    """Tasks of the run that were looked at and are not reliable."""
    not_looked_at: int = 0
    """Tasks of the run that the file does not know."""


def reliable_score(run: RunDirectory, file: Path, verifier: str = OFFICIAL) -> ReliableScore:
    """The score of a run on the tasks of a file that `evals validate` wrote.

    Raises DamagedFileError for what is no such file (or a damaged run), ReliableScoreError for one of other tasks.
    """
    reliable = read_record(file, ReliableSet)
    benchmark = run.manifest.benchmark
    known: dict[str, Reliability] = {one.task_id: one.reliability for one in reliable.found}
    if [*known] == benchmark.task_ids and reliable.content_sha256 != benchmark.content_sha256:
        message = (
            f"{file} was made of other versions of these tasks (content {reliable.content_sha256[:12]}, that of the "
            f"run {benchmark.content_sha256[:12]}): validate the dataset of the run, {benchmark.source}"
        )
        raise ReliableScoreError(message)
    chosen = {task_id for task_id in benchmark.task_ids if known.get(task_id) == "reliable"}
    if not chosen:
        message = f"no task of the run is reliable by {file}, which was made of {reliable.source}"
        raise ReliableScoreError(message)
    others = [task_id for task_id in benchmark.task_ids if task_id not in chosen]

    def over(name: str) -> Score:
        return score([trial for trial in trial_results(run, name) if trial.task_id in chosen], name)

    return ReliableScore(
        file=str(file),
        tasks=len(chosen),
        score=over(verifier),
        hardened=over(HARDENED) if HARDENED in run.manifest.verifiers else None,
        left_out=dict(Counter(known[task_id] for task_id in others if task_id in known)),
        not_looked_at=sum(task_id not in known for task_id in others),
    )


def reliable_facts(of: ReliableScore) -> Iterator[tuple[str, str]]:
    """The score on the reliable tasks, and what was left out, as named sentences."""
    yield "reliable tasks", f"{wording.resolved(of.score)}, 95% interval {wording.interval(of.score.interval)} (Wilson)"
    if of.hardened:
        interval = wording.interval(of.hardened.interval)
        yield "", f"hardened {wording.resolved(of.hardened)}, 95% interval {interval} (Wilson)"
    left_out = [f"{number} {_REASONS[reason]}" for reason, number in of.left_out.items()]
    if of.not_looked_at:
        left_out.append(f"{of.not_looked_at} that the file does not know")
    tasks = "1 task" if of.tasks == 1 else f"{of.tasks} tasks"
    yield "", f"{tasks} of the run; left out: {', '.join(left_out) or 'none'} ({of.file})"
