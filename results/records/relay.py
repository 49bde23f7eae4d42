"""`relay.jsonl`: what passed through the relay of a trial, a line for each request once it is over."""

from typing import Any, Literal

from pydantic import Field

from results.records.base import Record
from results.records.usage import Usage

Relation = Literal["begins", "extends", "repeats", "changes"]
"""What a request is to the one before it in its conversation.

`extends`: it begins with all messages of that one, byte for byte, and with the same tools. `changes`: it does not.
"""


class RelayedRequest(Record):
    """One request of an agent for a turn of the model. What was said stands in the trajectory of the conversation."""

    number: int
    """Within the trial, from 1."""
    started: float
    """Seconds since the epoch."""
    seconds: float
    status: int | None
    """What the agent was answered; None where it left before."""
    bytes: int
    sha256: str
    """Of the body as the agent sent it."""
    conversation: int | None = None
    """1 is the trajectory of the trial, or of its step; None for a request that was refused."""
    relation: Relation | None = None
    messages: int = 0
    kept: int = 0
    """How many of its messages, from the first, are those of the request before it."""
    cause: str = ""
    """Why it changes what was sent before."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """What it says beside messages and tools."""
    added: list[str] = Field(default_factory=list[str])
    """What the relay said for it: settings of the run that it lacked, and that a stream ends with its counts."""
    overridden: list[str] = Field(default_factory=list[str])
    """What it says otherwise than the run's own settings."""
    usage: Usage | None = None
    """What the server counted; None where nothing was generated, or nobody knows."""
    problem: str = ""
    """Why there was no whole answer: a limit, the backend, an agent that left."""
