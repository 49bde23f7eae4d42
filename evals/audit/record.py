"""Keeps the audit of a try beside its trajectory, as `audit.json`."""

from evals.audit.trace import audit_trajectory
from results.record_files import encode, read_record
from results.records.audit import TraceAudit
from results.run_directory import TryDirectory
from results.whole_files import write_whole

AUDIT = "audit.json"


def audit_try(directory: TryDirectory, repository: str) -> TraceAudit:
    """Audit what was done in a try at a task on `repository` (`owner/name`), and write it down.

    Raises DamagedFileError for a trajectory that cannot be read, OSError.
    """
    audit = audit_trajectory(directory.trajectory_path, repository)
    write_whole(directory.path / AUDIT, encode(audit, indent=2) + b"\n")
    return audit


def kept_audit(directory: TryDirectory) -> TraceAudit | None:
    """The audit of a try, if it was made. Raises DamagedFileError."""
    path = directory.path / AUDIT
    return read_record(path, TraceAudit) if path.exists() else None


def repository_of(task_id: str) -> str:
    """`owner/name`, as SWE-bench writes it into its ids: `owner__name-1234`, and Pro `instance_owner__name-…`."""
    return task_id.removeprefix("instance_").partition("-")[0].replace("__", "/")
