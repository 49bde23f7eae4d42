"""The agent `terminus`, for every command that can run it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from evals.agents import ModelAgent
    from evals.terminal_bench.terminus import TerminusTerminalAgent
    from unbroken.commands.running import Setup

TERMINUS = "terminus"
_OF_TOOLS = {"toolset": "--toolset", "mcp": "--mcp", "mcp_file": "--mcp-file"}


def check(setup: "Setup", prompt: str | None) -> None:
    """A usage error for what does not go together with it."""
    given = [name for field, name in _OF_TOOLS.items() if getattr(setup.asked, field)]
    if prompt is not None:
        given.append("--prompt")
    if setup.asked.on_context_limit == "compact":
        given.append("--on-context-limit compact")
    if given:
        message = f"it is about the default loop; {TERMINUS} has no tools, and a prompt of its own: leave out "
        raise typer.BadParameter(message + ", ".join(given), param_hint=given[0])


@asynccontextmanager
async def open_terminus(setup: "Setup") -> "AsyncGenerator[tuple[TerminusTerminalAgent, ModelAgent]]":
    """The agent, with a model behind it. Raises what opening a backend raises."""
    from dataclasses import replace

    from evals.terminal_bench.terminus import MOST_STEPS, TerminusTerminalAgent

    async with setup.open_model(setup.asked.backend) as model:
        limits = setup.asked.limits(setup.settings, on_context="stop", steps=MOST_STEPS)
        # Each turn is followed by a message of the user, and no tool is called.
        model = replace(model, limits=limits, name=TERMINUS, needs=("user_message",))
        yield TerminusTerminalAgent(model), model
