"""Goes on with a run that was broken off: what has a verdict is left alone, and work that lies there is judged.

A trial is finished when its last try ended without an error, or every verifier has judged it. Of the others, one
whose agent had come to its end before the process died is judged as it lies there, where that can be done (a patch; a
container is gone). All that is left gets a further try; earlier ones are kept.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.trial import Harvest
from results.manifest_difference import manifest_differences
from results.records.events import EndEvent
from results.records.manifest import Extension, Manifest
from results.records.outcome import Outcome
from results.run_directory import RunDirectory, TrialDirectory, TryDirectory
from results.trajectory import read_trajectory

_MOVES = "backend.base_url"
"""Where a model is served may change: another machine is no other run."""


Contents = Callable[[Sequence[str]], str]
"""The hash of the content of some of the tasks that are asked for, in an order."""


class ManifestChangedError(ValueError):
    """What is asked for would not be the same run."""


@dataclass(frozen=True)
class LeftWork:
    """What an agent had finished when its process died, or what a verifier could not judge."""

    directory: TryDirectory
    harvest: Harvest
    judged_by: frozenset[str]
    """The verifiers that have judged it."""


def same_run(run: RunDirectory, asked: Manifest, content_sha256: Contents) -> RunDirectory:
    """The run, if `asked` is the manifest that it has, with more attempts or tasks where that asks for them.

    Raises ManifestChangedError with what differs.
    """
    grown = _grown(run.manifest, asked, content_sha256)
    task_ids = grown.benchmark.task_ids
    if set(task_ids) == set(asked.benchmark.task_ids):  # they stay in the order in which they came
        extent = Extension(attempts=asked.attempts, task_ids=task_ids, content_sha256=content_sha256(task_ids))
        asked = extent.extend(asked)
    changed = [each for each in manifest_differences(grown, asked) if each.key != _MOVES]
    if changed:
        lines = "".join(f"\n  {each}" for each in changed)
        message = f"run {run.manifest.run_id} was begun with something else, so this would be another run:{lines}"
        raise ManifestChangedError(message)
    return RunDirectory(run.path, grown)


def _grown(manifest: Manifest, asked: Manifest, content_sha256: Contents) -> Manifest:
    """The manifest with the attempts and tasks that are asked for beyond its own, whose tasks are unchanged."""
    attempts, benchmark = max(manifest.attempts, asked.attempts), manifest.benchmark
    added = [task_id for task_id in asked.benchmark.task_ids if task_id not in set(benchmark.task_ids)]
    keeps_all = set(benchmark.task_ids) <= set(asked.benchmark.task_ids)
    if not keeps_all or content_sha256(benchmark.task_ids) != benchmark.content_sha256:
        return manifest.model_copy(update={"attempts": attempts})
    task_ids = [*benchmark.task_ids, *added]
    extent = Extension(attempts=attempts, task_ids=task_ids, content_sha256=content_sha256(task_ids))
    return extent.extend(manifest)


def is_finished(trial: TrialDirectory, verifiers: Collection[str]) -> bool:
    """Whether nothing is left to be done. Raises DamagedFileError."""
    tries = trial.tries() if trial.path.exists() else []
    end = tries[-1].end() if tries else None
    if end is None:
        return False
    verdicts = [verdict for verdict in trial.verdicts() if verdict.try_number == tries[-1].number]
    judged_by = {verdict.verifier for verdict in verdicts if not verdict.infrastructure}
    if end.outcome.error is None:
        return judged_by >= {verdict.verifier for verdict in verdicts}
    # Work that is gone cannot be judged again, and to do it again would be a second chance.
    return judged_by >= set(verifiers) or bool(judged_by and not tries[-1].patch_path.exists())


def left_work(trial: TrialDirectory) -> LeftWork | None:
    """The work of the last try, if its agent came to its end. Raises DamagedFileError, OSError."""
    tries = trial.tries() if trial.path.exists() else []
    if not tries or (recorded := _recorded(tries[-1].trajectory_path)) is None:
        return None
    directory, (outcome, started) = tries[-1], recorded
    patch = directory.patch_path.read_bytes() if directory.patch_path.exists() else None
    verdicts = [verdict for verdict in trial.verdicts() if verdict.try_number == directory.number]
    if outcome.error is not None or (patch is None and not verdicts):
        return None
    end = directory.end()
    image_id = end.image_id if end else next((verdict.image_id for verdict in verdicts if verdict.image_id), None)
    return LeftWork(directory, Harvest(outcome, patch, image_id, started), verdicts_on(trial, directory))


def verdicts_on(trial: TrialDirectory, directory: TryDirectory) -> frozenset[str]:
    """The verifiers that have judged a try, and whose environment did not break. Raises DamagedFileError."""
    verdicts = [verdict for verdict in trial.verdicts() if verdict.try_number == directory.number]
    return frozenset(verdict.verifier for verdict in verdicts if not verdict.infrastructure)


def _recorded(trajectory: Path) -> tuple[Outcome, float] | None:
    """How the agent ended, and when it began; None where it did not come to its end."""
    if not trajectory.exists():
        return None
    started = None
    for event in read_trajectory(trajectory, lambda _: None):
        started = event.time if started is None else started
        if isinstance(event, EndEvent):
            return event.outcome, started
    return None
