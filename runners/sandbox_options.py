"""What a person says about the containers that an agent works in: their network, and what they may take.

All of it can change a score, so all of it belongs into a run's manifest.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, get_args

from runners.allowlist import Allowlist, AllowlistError
from runners.docker_engine import in_thread

if TYPE_CHECKING:
    from docker import DockerClient

NetworkKind = Literal["none", "bridge", "allowlist"]
PROCESSES = 4096
"""What a container may run at once unless somebody says otherwise: more than any build needs, and no fork bomb."""


class SandboxOptionError(ValueError):
    """What was asked for makes no sense, or this engine cannot give it. `option` is its name, as in SandboxOptions."""

    def __init__(self, message: str, option: str) -> None:
        super().__init__(message)
        self.option = option


@dataclass(frozen=True)
class SandboxOptions:
    """Network and limits of a container. None: no limit but the machine's."""

    network: NetworkKind = "none"
    allowed_hosts: tuple[str, ...] = ()
    """In one order and one spelling; only with `allowlist`."""
    cpus: float | None = None
    memory: str | None = None
    """As `size` returns it."""
    disk: str | None = None
    """What may be written on top of the image."""
    processes: int | None = PROCESSES
    gpus: int = 0

    @classmethod
    def parse(
        cls,
        network: str,
        allowed_hosts: Sequence[str] = (),
        *,
        cpus: float | None = None,
        memory: str | None = None,
        disk: str | None = None,
        processes: int | None = PROCESSES,
        gpus: int = 0,
    ) -> "SandboxOptions":
        """Read what was said. Raises SandboxOptionError."""
        for kind in get_args(NetworkKind):
            if kind == network:
                break
        else:
            message = f"{network!r} is no network; there are: {', '.join(get_args(NetworkKind))}"
            raise SandboxOptionError(message, "network")
        if network == "allowlist" and not allowed_hosts:
            raise SandboxOptionError("an allowlist needs the hosts on it: --allow-host HOST", "network")
        if network != "allowlist" and allowed_hosts:
            message = f"hosts are only allowed by --network allowlist, and the network is {network}"
            raise SandboxOptionError(message, "allowed_hosts")
        if cpus is not None and not 0 < cpus < math.inf:
            message = f"{cpus} is no number of processors"
            raise SandboxOptionError(message, "cpus")
        return cls(
            network=kind,
            allowed_hosts=_hosts(allowed_hosts),
            cpus=cpus,
            memory=None if memory is None else size(memory, "memory", least=_LEAST_MEMORY),
            disk=None if disk is None else size(disk, "disk"),
            processes=processes,
            gpus=gpus,
        )

    def with_host(self) -> "SandboxOptions":
        """The same where a service of ours on this machine can be reached: what was no network leads to that alone."""
        return replace(self, network="allowlist") if self.network == "none" else self

    def description(self) -> dict[str, Any]:
        """For a manifest."""
        return {
            "network": self.network,
            "allowed_hosts": list(self.allowed_hosts),
            "cpus": self.cpus,
            "memory": self.memory,
            "disk": self.disk,
            "processes": self.processes,
        }

    async def check(self, client: "DockerClient") -> None:
        """Raise SandboxOptionError for limits that this engine cannot set, before each container fails of them."""
        if self.cpus is None and self.disk is None and self.memory is None:
            return
        engine = await in_thread(_information, client)
        has = Capacity.of(engine)
        if self.cpus is not None and has.cpus and self.cpus > has.cpus:
            message = f"{self.cpus:g} processors were asked for, and the Docker engine has {has.cpus}"
            raise SandboxOptionError(message, "cpus")
        if self.memory is not None and has.memory and size_in_bytes(self.memory, "memory") > has.memory:
            message = f"{self.memory} of memory were asked for, and the Docker engine has {has.memory / 2**30:.1f}g"
            raise SandboxOptionError(message, "memory")
        status: dict[str, str] = dict(engine.get("DriverStatus") or ())
        driver, below = str(engine.get("Driver")), status.get("Backing Filesystem")
        if self.disk is not None and driver.startswith("overlay") and below not in (None, "xfs"):
            message = f"this Docker engine cannot limit the disk: {driver} does it on xfs alone, and this is {below}"
            raise SandboxOptionError(message, "disk")


@dataclass(frozen=True)
class Capacity:
    """What an engine has for all of its containers; 0 where it does not say."""

    cpus: int
    memory: int
    """Bytes."""

    @classmethod
    async def ask(cls, client: "DockerClient") -> "Capacity":
        """Ask the engine. Raises SandboxError."""
        return cls.of(await in_thread(_information, client))

    @classmethod
    def of(cls, engine: Mapping[str, Any]) -> "Capacity":
        """Read what an engine says of itself."""
        return cls(int(engine.get("NCPU") or 0), int(engine.get("MemTotal") or 0))


def _information(client: "DockerClient") -> dict[str, Any]:
    return client.info()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def size(text: str, option: str, *, least: int = 1) -> str:
    """A size such as `4g` or `512m` in its shortest spelling, so that equal sizes are equal.

    Raises SandboxOptionError for what is none, or is below `least` bytes.
    """
    whole = size_in_bytes(text, option, least=least)
    unit = next(unit for unit in reversed(_UNITS) if whole % 1024 ** _UNITS.index(unit) == 0)
    return f"{whole // 1024 ** _UNITS.index(unit)}{unit.strip()}"


def size_in_bytes(text: str, option: str, *, least: int = 1) -> int:
    """Read a size with a unit of Docker's, in powers of 1024; none means bytes. Raises SandboxOptionError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    number = int(Decimal(found[1]) * 1024 ** _UNITS.index(found[2] or " ")) if found else 0
    if not least <= number <= _MOST_BYTES:
        message = f"{text!r} is no size that can be used here: give one such as 4g or 512m"
        raise SandboxOptionError(message, option)
    return number


_UNITS = " kmgt"
_LEAST_MEMORY = 6 * 1024 * 1024
"""Docker's own."""
_MOST_BYTES = 1 << 60


def _hosts(given: Sequence[str]) -> tuple[str, ...]:
    try:
        return Allowlist.parse(given).hosts
    except AllowlistError as error:
        raise SandboxOptionError(str(error), "allowed_hosts") from error
