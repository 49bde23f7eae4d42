"""Moves a running container from one network to another, with everything that runs in it.

    settings = switchable(settings, [first, *others], resolvers)
    sandbox = await DockerSandbox.start(client, settings)
    switch = NetworkSwitch(client, sandbox.container_id, first)
    await switch.to(other)
    await sandbox.exec("…", timeout=60, environment=switch.environment)

What stays and what goes: the container's network namespace stays, so services go on listening on localhost and on all
addresses, and whoever entered the namespace (`private_room.py`) goes along. The container's address in the old network
goes, with every connection that was made from it; the engine puts the new one behind the container's name in
/etc/hosts, and none where there is no network. The old network is left before the new one is entered, so that at no
moment more can be reached than in one of them.

Variables: a process keeps those that it was started with, so those that name a proxy are not the container's. Whoever
starts something while a network holds gives them along (`phase_environment`).

Names: which name servers a container has is settled when it is made, and the engine's own resolver, which asks for a
container, asks them in two ways. Those that it has been given for this container it asks from inside the container, so
that nobody answers where the network leads nowhere. Those of this machine it may ask from this machine, whatever the
container's network (CVE-2024-29018). So a container that changes networks is given its name servers, and they are asked
for once (`engine_resolvers`). All networks but `none` have to be of our own (`ours`): on the engine's bridge names are
treated differently, and the container's old address stays in /etc/hosts.
"""

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from runners.container import ContainerSettings
from runners.docker_engine import in_thread
from runners.docker_sandbox import DockerSandbox
from runners.networks import NO_RESOLVER, SHORT_WAIT, SandboxNetwork
from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import DockerClient

_NONE = "none"
_RESOLVERS = "/etc/resolv.conf"


@dataclass
class NetworkSwitch:
    """The one network that a container is in."""

    client: "DockerClient"
    container: str
    """Its id. It was made with settings from `switchable`."""
    network: SandboxNetwork
    """The one that holds."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What is given along to whatever is started now."""
        return phase_environment(self.network)

    async def to(self, network: SandboxNetwork) -> None:
        """Let another network hold; nothing is done where it does already. Raises SandboxError.

        After a failure the container is in no network, or in the new one.
        """
        if network.name == self.network.name:
            return
        await in_thread(_move, self.client.api, self.container, network.name)
        self.network = network


def switchable(
    settings: ContainerSettings, networks: Sequence[SandboxNetwork], resolvers: Sequence[str]
) -> ContainerSettings:
    """The settings of a container that starts in the first network and may be moved to the others.

    The limits are those of the first. `resolvers`: from `engine_resolvers`, for networks with a way out.
    """
    for network in networks:
        if network.has_way_out and not network.is_ours:
            message = f"a container cannot be moved to or from the engine's own network {network.name}"
            raise ValueError(message)
    can_ask = any(network.has_way_out for network in networks)
    in_first = networks[0].container(settings)
    return replace(in_first, environment=settings.environment, dns=tuple(resolvers) if can_ask else NO_RESOLVER)


def phase_environment(network: SandboxNetwork) -> Mapping[str, str]:
    """The variables of what is started while `network` holds: the way to its proxy, and no long wait for a name."""
    return network.environment if network.has_way_out else {**SHORT_WAIT, **network.environment}


async def engine_resolvers(client: "DockerClient", image: str) -> tuple[str, ...]:
    """The name servers that the engine gives to a container of its bridge, as one of `image` finds them.

    Raises SandboxError.
    """
    sandbox = await DockerSandbox.start(client, ContainerSettings(image=image, directory="/", network="bridge"))
    try:
        found = name_servers(await in_thread(_read, client.api, sandbox.container_id))
    finally:
        await sandbox.close()
    if not found:
        raise SandboxError("the engine names no name server to its containers, so none can be handed on")
    return found


def name_servers(resolv_conf: str) -> tuple[str, ...]:
    """The name servers in the text of a resolv.conf that can be asked from inside a container."""
    rows = [line.split() for line in resolv_conf.splitlines()]
    return tuple(dict.fromkeys(_addresses(row[1] for row in rows if len(row) > 1 and row[0] == "nameserver")))


def _addresses(given: Iterable[str]) -> Iterator[str]:
    for each in given:
        with suppress(ValueError):
            if not ip_address(each).is_loopback and "%" not in each:  # an interface of this machine's
                yield each


def _move(api: Any, container: str, target: str) -> None:
    held: dict[str, Any] = api.inspect_container(container)["NetworkSettings"]["Networks"] or {}
    for name in held:
        if name != target:
            api.disconnect_container_from_network(container, name)
    if target not in (_NONE, *held):
        api.connect_container_to_network(container, target)


def _read(api: Any, container: str) -> str:
    pieces, _ = api.get_archive(container, _RESOLVERS)
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        files = (archive.extractfile(member) for member in archive)
        return b"".join(file.read() for file in files if file).decode(errors="replace")
