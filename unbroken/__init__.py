"""Unbroken: an agentic coding harness that keeps a model's thinking, and evals that say how good the model is in it.

`from unbroken import Agent` gives the public API; nothing is imported before it is asked for.
"""

from typing import TYPE_CHECKING

from unbroken.own_packages import import_own

if TYPE_CHECKING:
    from agent.loop import Agent as Agent
    from agent.loop import Instructions as Instructions

__version__ = "0.1.0"

_PUBLIC = {"Agent": "agent.loop", "Instructions": "agent.loop"}


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(import_own(_PUBLIC[name]), name)
    message = f"module 'unbroken' has no attribute {name!r}"
    raise AttributeError(message)
