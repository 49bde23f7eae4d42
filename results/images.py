"""Which images the trials of a run have worked in."""

from results.run_directory import RunDirectory


def image_ids(run: RunDirectory) -> dict[str, str]:
    """The digest of the image in which each task was last worked on, by the task. Raises DamagedFileError."""
    ends = [(trial.task_id, one.end()) for trial in run.trials() for one in trial.tries()]
    return {task_id: end.image_id for task_id, end in ends if end and end.image_id}
