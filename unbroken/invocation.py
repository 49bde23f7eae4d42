"""How the process was started: what a command knows of it beyond its own options."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

    from results.records.stated_run import StatedRun
    from results.run_directory import RunDirectory


@dataclass(frozen=True)
class Invocation:
    """The arguments with which the process was started, and the run that it goes on with."""

    arguments: tuple[str, ...]
    resumed: "RunDirectory | None" = None
    replayed: "RunDirectory | None" = None
    """The run whose recorded responses are played back."""
    live_from: int | None = None
    """The step from which a model answers in its place."""
    stated: "StatedRun | None" = None
    """The run that is to be begun again."""

    @classmethod
    def of(cls, context: "typer.Context") -> "Invocation":
        """That of the command in `context`."""
        return context.find_object(cls) or cls(())
