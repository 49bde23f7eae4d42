"""What of an agent's container is kept when it is done."""

from pathlib import PurePosixPath

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

MANIFEST = "manifest.json"
"""The list of what was collected, which no artifact may overwrite."""


class Artifact(BaseModel):
    """A file or folder of the container; a task may give it as a path alone."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    source: str
    destination: str | None = None
    exclude: list[str] = []
    service: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _as_path(cls, given: object) -> object:
        return {"source": given} if isinstance(given, str) else given

    @field_validator("source")
    @classmethod
    def _stays_in_place(cls, source: str) -> str:
        if not source or "\0" in source or ".." in PurePosixPath(source).parts:
            raise ValueError("source is a path without ..")
        return source

    @field_validator("destination")
    @classmethod
    def _stays_below(cls, destination: str | None) -> str | None:
        if destination is None:
            return None
        path = PurePosixPath(destination)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise ValueError("destination is a path below artifacts/, without ..")
        if path == PurePosixPath(MANIFEST):
            message = f"destination cannot be {MANIFEST}, the list of what was collected"
            raise ValueError(message)
        return destination

    @model_validator(mode="after")
    def _is_absolute_in_other_services(self) -> "Artifact":
        if self.service not in {None, "main"} and not PurePosixPath(self.source).is_absolute():
            raise ValueError("source in another service than main is an absolute path")
        return self
