"""The options of an agent that is a command in the container, for every command that can run one."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from unbroken.commands import options
from unbroken.commands.option_groups import option

if TYPE_CHECKING:
    from evals.command_agent import CommandAgent
    from unbroken.commands.running import Setup

_OF_OUR_LOOP = {
    "toolset": "--toolset",
    "mcp": "--mcp",
    "mcp_file": "--mcp-file",
    "max_thinking": "--max-thinking",
    "on_context_limit": "--on-context-limit",
}


@dataclass(frozen=True)
class CommandOptions:
    """What may be said beside `--agent command:…`."""

    agent_install: Annotated[
        str | None,
        option(
            metavar="COMMAND",
            help="What is run in the container before, under the task's own network, so that there is such a command.",
        ),
    ] = None
    agent_install_time: Annotated[
        float | None, option(min=0.1, metavar="SECONDS", help="How long that may take; 600 unless given.")
    ] = None

    def check(self, agent: str | None, setup: "Setup", prompt: str | None) -> str | None:
        """The command, where `agent` is one; a usage error for what does not go together."""
        from evals.command_agent import parse_command

        try:
            command = parse_command(agent)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--agent") from error
        if command is None:
            if self.agent_install is not None or self.agent_install_time is not None:
                message = "it goes with --agent command:'what to run in the container'"
                raise typer.BadParameter(message, param_hint="--agent-install")
            return None
        given = [name for field, name in _OF_OUR_LOOP.items() if getattr(setup.asked, field)]
        if prompt is not None:
            given.append("--prompt")
        if given:
            message = f"it is about our own loop, and a command has its own: leave out {', '.join(given)}"
            raise typer.BadParameter(message, param_hint=given[0])
        secrets = options.secrets(setup.asked)
        if any(secret in text for secret in secrets for text in (command, self.agent_install or "")):
            message = "it holds a key, which would be in the container and in the manifest: the relay adds the key"
            raise typer.BadParameter(message, param_hint="--agent")
        return command

    @asynccontextmanager
    async def open(self, command: str, setup: "Setup", backend: str | None) -> "AsyncGenerator[CommandAgent]":
        """The agent, with a relay to the model. Raises what opening a backend raises."""
        from agent.chat_backend import ChatBackend
        from agent.relay.server import open_relay
        from evals.command_agent import INSTALL_SECONDS, CommandAgent

        seconds, secrets = self.agent_install_time or INSTALL_SECONDS, options.secrets(setup.asked)
        async with setup.open_model(backend) as model, open_relay() as relay:
            assert isinstance(model.backend, ChatBackend)
            yield CommandAgent(command, model, model.backend, relay, self.agent_install, seconds, secrets)
