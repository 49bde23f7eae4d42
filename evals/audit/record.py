"""Audits what was done in a try, and keeps what was found beside its trajectory."""

from evals.audit.trace import audit_trajectory
from results.records.audit import TraceAudit
from results.run_directory import TryDirectory


def audit_try(directory: TryDirectory, repository: str) -> TraceAudit:
    """Audit what was done in a try at a task on `repository` (`owner/name`), in all of its steps, and write it down.

    Raises DamagedFileError for a trajectory that cannot be read, OSError.
    """
    audits = [
        (path.relative_to(directory.path), audit_trajectory(path, repository))
        for path in (directory.trajectory_path, *sorted(directory.path.glob("steps/*/trajectory.jsonl")))
    ]
    audit = audits[0][1].model_copy(
        update={
            "calls": sum(one.calls for _, one in audits),
            "findings": [
                finding.model_copy(update={"trajectory": str(path)}) for path, one in audits for finding in one.findings
            ],
        }
    )
    directory.write_audit(audit)
    return audit


def repository_of(task_id: str) -> str:
    """`owner/name`, as SWE-bench writes it into its ids: `owner__name-1234`, and Pro `instance_owner__name-…`."""
    return task_id.removeprefix("instance_").partition("-")[0].replace("__", "/")
