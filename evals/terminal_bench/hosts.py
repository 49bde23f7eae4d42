"""What a list of allowed hosts may hold."""

import ipaddress
import re

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)
_LONGEST_NAME = 253


def check_host(host: str) -> None:
    """Raise ValueError for what is no host name, `*.suffix`, address or network: a URL, or a name with a port."""
    if _is_network(host):
        return
    name = host.removeprefix("*.")
    if len(name) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        message = f"{host!r} is no host: give a name, *.suffix, an address or a network, without a scheme and a port"
        raise ValueError(message)


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
