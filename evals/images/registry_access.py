"""How registries are reached: as the engine does, which pulls from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from evals.images.names import DOCKER_HUB

_HUB_ADDRESS = "https://registry-1.docker.io"

Credentials = Callable[[str], tuple[str, str] | None]


def nobody(_: str) -> tuple[str, str] | None:
    """For those who have not logged in anywhere."""
    return None


@dataclass(frozen=True)
class Access:
    """What has to be known of the way to registries."""

    insecure: frozenset[str] = frozenset()
    """Hosts, with their ports, that are spoken to without TLS. Those of this machine always are."""
    mirrors: tuple[str, ...] = ()
    """Addresses that are asked before Docker Hub. They get no credentials."""
    credentials: Credentials = nobody
    """Name and password for a registry, where somebody has logged in."""

    def address(self, registry: str) -> str:
        """Where a registry's images can be asked for."""
        if registry == DOCKER_HUB:
            return _HUB_ADDRESS
        scheme = "http" if registry in self.insecure or is_this_machine(registry) else "https"
        return f"{scheme}://{registry}"

    def mirrors_of(self, registry: str) -> tuple[str, ...]:
        """Where they can be asked for before that."""
        return tuple(mirror.rstrip("/") for mirror in self.mirrors) if registry == DOCKER_HUB else ()


def engine_access(info: Mapping[str, Any]) -> Access:
    """How an engine reaches registries, from its own `info`, with the logins of Docker's client on this machine."""
    settings: Mapping[str, Any] = info.get("RegistryConfig") or _NOTHING
    indexes: Mapping[str, Mapping[str, Any]] = settings.get("IndexConfigs") or _NOTHING
    insecure = frozenset(name for name, index in indexes.items() if not index.get("Secure", True))
    return Access(insecure, tuple(settings.get("Mirrors") or ()), docker_login)


def docker_login(registry: str) -> tuple[str, str] | None:
    """Name and password of `docker login`, where there are any."""
    from docker import auth
    from docker.errors import DockerException

    reader: Any = auth
    try:
        found = reader.resolve_authconfig(reader.load_config(), None if registry == DOCKER_HUB else registry)
    except (DockerException, OSError, ValueError):
        return None  # without them the registry is asked as anybody may ask it
    login: Mapping[str, Any] = found or _NOTHING
    name, password = login.get("username"), login.get("password")
    return (name, password) if name and password else None


def is_this_machine(host: str) -> bool:
    """Whether a host, with or without a port, is this machine: Docker speaks to that without TLS."""
    name = (urlsplit(f"//{host}").hostname or "").lower()
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


_NOTHING: Mapping[str, Any] = {}
