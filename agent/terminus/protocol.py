"""What the model answers: one JSON object, and no call of a tool."""

from pydantic import BaseModel, ConfigDict

LONGEST_WAIT = 60.0
"""Seconds that one command is waited for at most."""
WAIT_UNLESS_GIVEN = 1.0


class Command(BaseModel):
    """Keys to be typed, and how long to wait before anything else happens."""

    model_config = ConfigDict(strict=True, frozen=True)

    keystrokes: str
    """Typed as they are, but for the name of a key that stands alone (`C-c`)."""
    duration: float = WAIT_UNLESS_GIVEN
    """Seconds, from 0 to LONGEST_WAIT."""


class Answer(BaseModel):
    """A turn of the model."""

    model_config = ConfigDict(strict=True, frozen=True)

    analysis: str
    plan: str
    commands: list[Command]
    task_complete: bool = False
