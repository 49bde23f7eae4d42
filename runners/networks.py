"""The network of the containers of one run, for as long as the run lasts.

`none` and `bridge` are the engine's own. An allowlist is a network without a way out, whose containers do not reach one
another, and a proxy of ours at its gateway; one without hosts has no proxy. A service of ours on this machine (a relay
to a model) can be reached at the gateway of any network but `none`. `network_switch.py` moves a running container from
one network to another.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from runners.allowlist import Allowlist
from runners.allowlist_proxy import AllowlistProxy, ProxyRules, open_proxy
from runners.bridge_firewall import INTERFACE_PREFIX, BridgeFirewall
from runners.container import ContainerSettings
from runners.docker_engine import OWNER_LABEL, RUN_LABEL, in_thread, obtain
from runners.owner import this_process
from runners.sandbox_options import SandboxOptions
from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.networks import Network


@dataclass
class SandboxNetwork:
    """A network that containers can be put into."""

    client: "DockerClient"
    options: SandboxOptions
    name: str
    """As the engine knows it."""
    gateway: str = ""
    """This machine's address for what is in it; empty where there is none, or it has to be asked for."""
    firewall: BridgeFirewall | None = None
    proxy: AllowlistProxy | None = None
    warning: str = ""
    """What a person should know before the start, once."""
    leftovers: list[str] = field(default_factory=list[str])
    """Once it is over: why the network could not be removed."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables by which programs find the proxy, in both spellings that there are, and no resolver."""
        if self.options.network != "allowlist":
            return {}
        if self.proxy is None:
            return SHORT_WAIT
        variables = {"http_proxy": self.proxy.url, "https_proxy": self.proxy.url, "no_proxy": _DIRECT}
        return {**variables, **{name.upper(): value for name, value in variables.items()}, **SHORT_WAIT}

    @property
    def has_way_out(self) -> bool:
        """Whether its containers reach the world by themselves, name servers included."""
        return self.options.network == "bridge"

    @property
    def is_ours(self) -> bool:
        """Whether it was made for this run, and is none of the engine's own."""
        return self.name != self.options.network

    @property
    def refusals(self) -> Mapping[str, int]:
        """How often each host was asked for in vain."""
        return {} if self.proxy is None else self.proxy.refusals

    @property
    def remarks(self) -> list[str]:
        """What a person should know at the end: the warning, and which hosts were asked for in vain."""
        refused = [f"{host} ({times}×)" for host, times in sorted(self.refusals.items(), key=lambda one: -one[1])]
        shown = ", ".join(refused[:_HOSTS_SHOWN]) + (", …" if len(refused) > _HOSTS_SHOWN else "")
        asked = [f"asked for from inside, and not on the allowlist: {shown}"] if refused else []
        return [*([self.warning] if self.warning else []), *asked]

    async def host_address(self) -> str:
        """The address at which containers in it find this machine. Raises SandboxError where there is none."""
        if not self.gateway and self.options.network == "none":
            raise SandboxError("a container without a network reaches nothing on this machine")
        if not self.gateway:
            self.gateway = _addresses(await in_thread(self.client.networks.get, self.name))[1]
        return self.gateway

    async def admit(self, port: int) -> None:
        """Let containers in it reach a port of this machine, where its others are closed to them."""
        if self.firewall:
            await self.firewall.admit(port)

    def container(self, settings: ContainerSettings) -> ContainerSettings:
        """The settings of a container in this network, with the limits of the options."""
        options = self.options
        return replace(
            settings,
            network=self.name,
            dns=NO_RESOLVER if self.options.network == "allowlist" else (),
            environment={**settings.environment, **self.environment},
            cpus=options.cpus,
            memory=options.memory,
            disk=options.disk,
            processes=options.processes,
            gpus=options.gpus,
        )


@asynccontextmanager
async def open_network(
    client: "DockerClient", options: SandboxOptions, *, run: str = "", ours: bool = False
) -> AsyncGenerator[SandboxNetwork]:
    """Make the network that `options` ask for, and remove it again: close what is in it first.

    `ours`: what has a way out is a network of our own as well, and not the engine's bridge; a container that is to be
    moved between networks needs that. Raises SandboxError, and ValueError for limits that this engine cannot set.
    """
    await options.check(client)
    if options.network == "none" or (options.network == "bridge" and not ours):
        yield SandboxNetwork(client, options, options.network)
        return
    interface = f"{INTERFACE_PREFIX}{secrets.token_hex(3)}"
    made = await _make(client, interface, run, internal=options.network != "bridge")
    network = SandboxNetwork(client, options, str(made.name))
    try:
        subnet, network.gateway = _addresses(made)
        if network.has_way_out:
            yield network
            return
        rules = ProxyRules(Allowlist.parse(options.allowed_hosts), clients=subnet)
        async with _proxy(rules, network.gateway) if options.allowed_hosts else nullcontext() as network.proxy:
            ports = [network.proxy.port] if network.proxy else []
            network.firewall = BridgeFirewall(interface, network.gateway, ports)
            if reason := await network.firewall.open():
                network.warning = _OPEN_HOST.format(reason=reason)
            yield network
    finally:
        network.leftovers += await _remove(made)
        if network.firewall and not network.leftovers:
            await network.firewall.close()


_DIRECT = "localhost,127.0.0.1,::1"
NO_RESOLVER = ("127.0.0.1",)
"""The engine's resolver passes questions on, which is a way out. Nobody answers at the container's own loopback."""
SHORT_WAIT = {"RES_OPTIONS": "timeout:1 attempts:1"}
"""So that a program learns within 2 seconds, rather than 20, that a name cannot be looked up: resolv.conf(5)."""
_PATIENCE = 3
_HOSTS_SHOWN = 20
_OPEN_HOST = (
    "the containers can reach what listens on all addresses of this machine, besides the proxy: only root can close "
    "that, with iptables ({reason})"
)


async def _make(client: "DockerClient", interface: str, run: str, *, internal: bool) -> "Network":
    def create() -> "Network":
        return client.networks.create(
            f"network-{secrets.token_hex(6)}",
            driver="bridge",
            internal=internal,
            options={
                "com.docker.network.bridge.enable_icc": "false",
                "com.docker.network.bridge.name": interface,
            },
            labels={RUN_LABEL: run, OWNER_LABEL: str(this_process())},
        )

    return await obtain(create, _disconnect_and_remove)


async def _remove(network: "Network") -> list[str]:
    """Remove a network, from under the containers that are still in it. Returns why it is still there."""
    for patience in reversed(range(_PATIENCE)):
        try:
            await in_thread(_disconnect_and_remove, network)
        except SandboxError as error:  # a container that is being removed this moment, perhaps
            if not patience:
                return [f"the network {network.name}: {error}"]
            await asyncio.sleep(0.5)
        else:
            break
    return []


def _disconnect_and_remove(network: "Network") -> None:
    from docker.errors import NotFound

    try:
        network.reload()
        containers: dict[str, object] = network.attrs.get("Containers") or {}
        for container in containers:
            with contextlib.suppress(NotFound):
                network.disconnect(container, force=True)
        network.remove()
    except NotFound:
        return


def _addresses(network: "Network") -> tuple[IPv4Network, str]:
    """The containers' addresses, and that of the machine among them."""
    configurations: list[dict[str, str]] = network.attrs["IPAM"]["Config"] or []
    for configuration in configurations:
        if ":" not in configuration.get("Subnet", ":"):
            subnet = IPv4Network(configuration["Subnet"])
            # Docker 20.10 names no gateway before its second start. It is the first address all the same.
            return subnet, configuration.get("Gateway") or str(next(subnet.hosts()))
    raise SandboxError("the engine gives its networks no address on this machine, so nothing on it can be reached")


@asynccontextmanager
async def _proxy(rules: ProxyRules, gateway: str) -> AsyncGenerator[AllowlistProxy]:
    try:
        proxy = open_proxy(rules, gateway)
    except OSError as error:
        message = (
            f"the containers' gateway {gateway} is no address of this machine ({error}): an allowlist needs an engine "
            "that runs here: no virtual machine (Docker Desktop), not rootless, not somewhere else, not Podman"
        )
        raise SandboxError(message) from error
    async with proxy as opened:
        yield opened
