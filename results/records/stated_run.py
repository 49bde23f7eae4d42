"""What `evals manifest --json` prints, and `evals run --manifest` reads: a run without its trials."""

from pydantic import Field

from results.records.base import Record
from results.records.manifest import Beginning, Manifest, SessionRecord


class StatedRun(Record):
    """All that a run was, for somebody who wants the same again."""

    manifest: Manifest
    sha256: str
    images: dict[str, str] = Field(default_factory=dict)
    """The digest of the image in which each task was last worked on, by the task."""
    begun: Beginning | None = None
    starts: list[SessionRecord] = Field(default_factory=list[SessionRecord])

    @property
    def command(self) -> list[str]:
        """The arguments of `evals` of the last start that says them; empty where none does."""
        commands = [start.command for start in self.starts if start.command]
        return commands[-1] if commands else self.begun.command if self.begun else []
