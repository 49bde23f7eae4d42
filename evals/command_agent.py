"""An agent that is a command in the container: any program that speaks the OpenAI protocol to the address it is given.

It never gets the key. It gets the address of a relay of ours on this machine and a token that ends with the trial, so
that what it asks is recorded, counted and limited like what our own loop asks (docs/command-agents.md).
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.chat_backend import ChatBackend
from agent.limits import Budget
from agent.listener import Listener
from agent.redaction import REDACTED
from agent.relay.ledger import TrialLedger
from agent.relay.recording import Setting
from agent.relay.server import Relay
from evals.agents import ModelAgent, tell_start
from evals.swebench.prompt_sets import text_sha256
from results.records.manifest import AgentDescription, Manifest
from results.records.outcome import ErrorSource, Exit, Outcome, TimeSplit
from runners.networks import SandboxNetwork
from tools.sandbox import CommandResult, Sandbox, SandboxError

PREFIX = "command:"
INSTALL_SECONDS = 600.0
COMMAND_OUTPUT = "command.txt"
INSTALL_OUTPUT = "install.txt"
_FOLDER = "/logs/agent"
"""In the container, as Harbor has it for what agents write down."""
_INSTRUCTION, _OUTPUT = f"{_FOLDER}/instruction.md", f"{_FOLDER}/{COMMAND_OUTPUT}"
# As root, for whoever the agent is.
_PREPARE = (
    f"mkdir -p {_FOLDER} && chmod 777 {_FOLDER} && rm -f {_INSTRUCTION} {_OUTPUT} && cat >{_INSTRUCTION} && "
    f": >{_OUTPUT} && chmod 666 {_INSTRUCTION} {_OUTPUT}"
)
_NO_LIMIT = 7 * 24 * 3600.0
_GRACE = 60.0
"""Seconds that a command may go on for once a limit is spent, to write down what it has."""
_READING = 60.0
_PROBING = 10.0
_LONGEST_VARIABLE = 100_000
"""Bytes; the kernel takes no variable of more than 128 KiB."""
_INSTALLING: Mapping[str, str] = {"DEBIAN_FRONTEND": "noninteractive"}


@dataclass(frozen=True)
class CommandPlace:
    """Where a command runs."""

    sandbox: Sandbox
    network: SandboxNetwork
    image: str
    folder: Path
    """Of this machine, for what is kept beside the trajectory."""


@dataclass(frozen=True)
class CommandAgent:
    """Runs a command on one task after the other, several at a time."""

    command: str
    model: ModelAgent
    """Which model it may ask, and what it may spend."""
    backend: ChatBackend
    """Where that model is served."""
    relay: Relay
    installation: str | None = None
    install_seconds: float = INSTALL_SECONDS
    secrets: frozenset[str] = frozenset()
    """What is taken out of everything that is written down."""
    name: str = "command"

    def in_manifest(self, manifest: Manifest) -> Manifest:
        """The manifest of a run with this agent."""
        install = self.installation
        agent = AgentDescription(
            name=self.name,
            command=self.command,
            command_sha256=text_sha256(self.command),
            install=install,
            install_sha256=None if install is None else text_sha256(install),
            install_seconds=None if install is None else self.install_seconds,
        )
        model = self.model
        more = {"backend": model.backend.description, "prices": model.prices, "limits": model.limits}
        return manifest.model_copy(update={"agent": agent, **more})

    async def install(self, sandbox: Sandbox, folder: Path) -> None:
        """Run the installation, if there is one; what it says is kept in `folder`. Raises SandboxError if it fails."""
        if self.installation is None:
            return
        ran = await sandbox.exec(self.installation, timeout=self.install_seconds, environment=_INSTALLING)
        self._keep(folder / INSTALL_OUTPUT, ran)
        if ran.exit_code != 0:
            how = f"took more than {self.install_seconds:g} seconds" if ran.timed_out else f"exit {ran.exit_code}"
            said = ran.output[-500:].decode(errors="replace").strip()
            message = f"the agent could not be installed ({how}): {said}"
            raise SandboxError(message)

    async def run(self, instruction: str, place: CommandPlace, seconds: float | None, listener: Listener) -> Outcome:
        """Let the command work, and say how it ended. Raises SandboxError.

        `seconds` is what the task gives; what a person says holds in its place.
        """
        started = time.monotonic()
        model, sandbox = self.model, place.sandbox
        description = model.backend.description
        setting = Setting(
            self.name, description, model.backend.dialect, sandbox.working_directory, f"docker:{place.image}"
        )
        budget = Budget(model.limits, model.prices)
        deadline = seconds if model.limits.seconds is None else model.limits.seconds
        address = await self._way_to_relay(place)
        ledger = TrialLedger(self.backend, budget, setting, listener, place.folder, self.secrets)
        with ledger, self.relay.trial(ledger) as token:
            environment = {
                **await _told(sandbox, instruction, deadline),
                **_connected(place.network, address, token, description.model),
            }
            try:
                ran = await self._ran(sandbox, environment, deadline, ledger)
            finally:
                await ledger.end()
        if ledger.fault:
            raise ledger.fault
        await self._keep_output(place)
        if not ledger.has_begun:
            tell_start(self.name, sandbox, place.image, listener)
        return _outcome(ran, ledger, time.monotonic() - started)

    async def _way_to_relay(self, place: CommandPlace) -> tuple[str, int]:
        """The relay's host and port for the container. Raises SandboxError where it cannot be reached from there."""
        host = await place.network.host_address()
        try:
            port = await self.relay.listen(host)
        except OSError as error:
            message = (
                f"the containers' gateway {host} is no address of this machine ({error}): an agent that runs in a "
                "container needs an engine that runs here, since it asks its model through a relay on this machine"
            )
            raise SandboxError(message) from error
        await place.network.admit(port)
        probe = f'[ -z "$BASH_VERSION" ] || : </dev/tcp/{host}/{port}'
        reached = await place.sandbox.exec(probe, timeout=_PROBING)
        if reached.exit_code != 0:
            message = (
                f"the container does not reach the relay on this machine at {host}:{port}: "
                "does a firewall of this machine refuse what comes from containers?"
            )
            raise SandboxError(message)
        return host, port

    async def _ran(
        self, sandbox: Sandbox, environment: Mapping[str, str], deadline: float | None, ledger: TrialLedger
    ) -> CommandResult | None:
        """Run the command; None where it was ended before its deadline, since a limit was spent or a person said so."""
        command = f"exec >{_OUTPUT} 2>&1\n{self.command}"
        running = asyncio.create_task(sandbox.exec(command, timeout=deadline or _NO_LIMIT, environment=environment))
        spent = asyncio.create_task(ledger.limit_met.wait())
        try:
            await asyncio.wait({running, spent}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({running}, timeout=_GRACE)
            return running.result() if running.done() else None
        except asyncio.CancelledError:
            return None
        finally:
            for task in (running, spent):
                task.cancel()
            await asyncio.gather(running, spent, return_exceptions=True)

    async def _keep_output(self, place: CommandPlace) -> None:
        said = await place.sandbox.exec(f"cat {_OUTPUT}", timeout=_READING)
        self._keep(place.folder / COMMAND_OUTPUT, said)

    def _keep(self, path: Path, ran: CommandResult) -> None:
        output = ran.output
        if ran.dropped:
            gap = f"\n[{ran.dropped} bytes are left out here]\n".encode()
            output = output[: ran.head_length] + gap + output[ran.head_length :]
        for secret in self.secrets:
            output = output.replace(secret.encode(), REDACTED.encode())
        path.write_bytes(output)


async def _told(sandbox: Sandbox, instruction: str, deadline: float | None) -> dict[str, str]:
    """What tells the command what to do, with the instruction written to its file. Raises SandboxError."""
    prepared = await sandbox.exec(_PREPARE, timeout=_READING, stdin=instruction.encode(), user="0")
    if prepared.exit_code != 0:
        said = prepared.output[-500:].decode(errors="replace").strip()
        message = f"the instruction cannot be written into the container: {said}"
        raise SandboxError(message)
    told = {"UNBROKEN_INSTRUCTION_FILE": _INSTRUCTION}
    if len(instruction.encode()) <= _LONGEST_VARIABLE:
        told["UNBROKEN_INSTRUCTION"] = instruction
    if deadline is not None:
        told["UNBROKEN_TIME_LIMIT"] = f"{deadline:g}"
    return told


def _connected(network: SandboxNetwork, address: tuple[str, int], token: str, model: str) -> dict[str, str]:
    """What tells it where its model is. The way to it is direct, whatever proxy there is for others."""
    host, port = address
    url = f"http://{host}:{port}/v1"
    direct = ",".join(filter(None, (network.environment.get("no_proxy"), host)))
    return {
        "OPENAI_BASE_URL": url,
        "OPENAI_API_BASE": url,
        "OPENAI_API_KEY": token,
        "OPENAI_MODEL": model,
        "no_proxy": direct,
        "NO_PROXY": direct,
    }


def _outcome(ran: CommandResult | None, ledger: TrialLedger, seconds: float) -> Outcome:
    budget = ledger.budget
    end, detail = _ending(ran, ledger)
    said = [detail] if detail else []
    error: ErrorSource | None = None
    if end == "interrupted":
        error = "cancelled"
    elif ledger.backend_failure and (ran is None or ran.exit_code != 0):
        error = "backend"
        said.append(ledger.backend_failure)
    elif not ledger.has_begun:
        said.append("it asked the model for nothing")
    return Outcome(
        exit="error" if error == "backend" else end,
        error=error,
        detail="; ".join(said),
        steps=budget.steps,
        usage=budget.usage,
        cost=budget.cost,
        time=TimeSplit(model=budget.model_seconds, tools=max(0.0, seconds - budget.model_seconds)),
        counts=dict(+ledger.counts),
    )


def _ending(ran: CommandResult | None, ledger: TrialLedger) -> tuple[Exit, str]:
    """How the agent ended; a limit that it met counts, whatever it made of that."""
    if ledger.limit:
        return ledger.limit
    if ran is None:
        return "interrupted", "interrupted"
    if ran.timed_out:
        return "limit:time", "the command took longer than it may"
    return "submitted", f"the command ended with {ran.exit_code}" if ran.exit_code else ""


def parse_command(agent: str | None) -> str | None:
    """The command in `command:…`; None for another agent. Raises ValueError where there is none."""
    if agent is None or not agent.startswith(PREFIX):
        return None
    command = agent.removeprefix(PREFIX).strip()
    if not command:
        raise ValueError("a command is missing: --agent command:'what to run in the container'")
    return command
