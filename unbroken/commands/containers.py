"""The options about the containers that an agent works in: their network, and what they may take."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unbroken.commands.option_groups import CONTAINERS, option

if TYPE_CHECKING:
    from agent.profiles.settings import Settings
    from runners.sandbox_options import SandboxOptions

PRESET_PARTS: Mapping[str, None] = {"cpus": None, "memory_gib": None}
"""What a preset may say of containers."""


@dataclass(frozen=True)
class Containers:
    """What was said about the agent's containers. What is None was not given."""

    network: Annotated[
        str | None,
        option(
            group=CONTAINERS,
            metavar="none|bridge|allowlist",
            help="What they reach: nothing, everything, or the hosts of --allow-host; evals: none, agent run: bridge.",
        ),
    ] = None
    allow_host: Annotated[
        list[str] | None,
        option(
            group=CONTAINERS,
            metavar="HOST",
            help="A host of the allowlist: a name, *.example.org, an address or a block of them; may be repeated.",
        ),
    ] = None
    cpus: Annotated[
        float | None, option(group=CONTAINERS, min=0.01, metavar="N", help="Processors of each; all unless given.")
    ] = None
    memory: Annotated[
        str | None, option(group=CONTAINERS, metavar="SIZE", help="Memory of each, such as 4g; no limit unless given.")
    ] = None
    disk: Annotated[
        str | None,
        option(
            group=CONTAINERS,
            metavar="SIZE",
            help="What each may write to disk, where the engine can limit that; no limit unless given.",
        ),
    ] = None
    processes: Annotated[
        int | None,
        option(group=CONTAINERS, min=1, metavar="N", help="Processes and threads of each; 4096 unless given."),
    ] = None

    def refuse_given(self, why: str) -> None:
        """A usage error that says `why`, where any of the options was given."""
        for name, value in vars(self).items():
            if value not in (None, []):
                raise typer.BadParameter(why, param_hint=_OPTIONS[name])

    def stated(self) -> dict[str, Any]:
        """What was given of that which a preset may also say, by the preset's names."""
        from runners.sandbox_options import size_in_bytes

        with _usage_errors():
            memory = None if self.memory is None else size_in_bytes(self.memory, "memory") / 2**30
        return {"cpus": self.cpus, "memory_gib": memory}

    def options(self, settings: "Settings", *, network: str) -> "SandboxOptions":
        """What holds, a preset of `settings` included; `network` is the one where none was given."""
        from runners.sandbox_options import PROCESSES, SandboxOptions

        of_preset = settings["memory_gib"]
        with _usage_errors():
            return SandboxOptions.parse(
                self.network or network,
                self.allow_host or (),
                cpus=settings["cpus"],
                memory=self.memory or (f"{of_preset}g" if of_preset else None),
                disk=self.disk,
                processes=self.processes or PROCESSES,
            )


_OPTIONS = {
    "network": "--network",
    "allow_host": "--allow-host",
    "allowed_hosts": "--allow-host",
    "cpus": "--cpus",
    "memory": "--memory",
    "disk": "--disk",
    "processes": "--processes",
}


@contextmanager
def _usage_errors() -> Generator[None]:
    from runners.sandbox_options import SandboxOptionError

    try:
        yield
    except SandboxOptionError as error:
        raise typer.BadParameter(str(error), param_hint=_OPTIONS[error.option]) from error
