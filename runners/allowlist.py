"""Which hosts a sandbox may reach: names, `*.suffix`, addresses and CIDR blocks.

The spellings are those of Terminal-Bench's `allowed_hosts`. A name is judged twice: by its own rule, and by the
addresses it resolves to. An allowed name whose owner points it at this machine or its private network (DNS
rebinding) opens nothing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Block = IPv4Network | IPv6Network

PORTS_OF_NAMES = (80, 443)
"""Where an allowed name may be reached: for a name, web servers are what is meant. An allowed address has any port."""


class AllowlistError(ValueError):
    """What was given as a host is none; the message says why."""


@dataclass(frozen=True)
class Allowlist:
    """The hosts that may be reached."""

    names: frozenset[str]
    suffixes: frozenset[str]
    """Without the star: `.example.org` stands for every name below example.org, and not for itself."""
    blocks: tuple[Block, ...]

    @classmethod
    def parse(cls, hosts: Iterable[str]) -> "Allowlist":
        """Read hosts as a person writes them. Raises AllowlistError for the first that is none."""
        names: set[str] = set()
        suffixes: set[str] = set()
        blocks: set[Block] = set()
        for host in hosts:
            if (block := _block(host)) is not None:
                blocks.add(block)
            elif host.startswith("*."):
                suffixes.add("." + _rule_name(host.removeprefix("*."), host))
            else:
                names.add(_rule_name(host, host))
        return cls(
            frozenset(names), frozenset(suffixes), tuple(sorted(blocks, key=lambda block: (block.version, block)))
        )

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every rule in one spelling and one order, so that equal lists are equal."""
        blocks = (str(block.network_address) if block.num_addresses == 1 else str(block) for block in self.blocks)
        return (*sorted(self.names), *sorted(f"*{suffix}" for suffix in self.suffixes), *blocks)

    def allows_name(self, name: str) -> bool:
        """Whether a rule has this name, as `host_of` returns it."""
        return name in self.names or any(name.endswith(suffix) for suffix in self.suffixes)

    def names_address(self, address: Address) -> bool:
        """Whether a rule has this address.

        One of a private network, of this machine or of its link needs a rule for just such addresses: 0.0.0.0/0
        means the internet, and neither 127.0.0.1 nor a cloud's 169.254.169.254.
        """
        plain = unwrapped(address)
        blocks = [block for block in self.blocks if plain in block]
        return bool(blocks) if is_public(plain) else any(_is_inward(block) for block in blocks)

    def allows_resolved(self, address: Address) -> bool:
        """Whether an allowed name may lead to this address."""
        return is_public(address) or self.names_address(address)


def host_of(text: str) -> str | Address:
    """A host as it stands in a request: an address, or a name in small letters. Raises AllowlistError."""
    try:
        return ip_address(text.removeprefix("[").removesuffix("]") if text.startswith("[") else text)
    except ValueError:
        return _name(text)


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet's."""
    plain = unwrapped(address)
    odd = plain.is_multicast or plain.is_reserved or any(plain in block for block in _ODD)
    return plain.is_global and not odd


def unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 address only wraps (mapped, 6to4, Teredo, NAT64), else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


_TRANSLATED = IPv6Network("64:ff9b::/96")
_ODD = (IPv6Network("::/96"), IPv6Network("64:ff9b:1::/48"))
"""An IPv4 address in a spelling that nobody uses any more, and one that a translator of the network's own unwraps."""
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_LONGEST_NAME = 253
_SHORTEST_INWARD_PREFIX = {4: 8, 6: 7}
"""The widest private blocks there are: 10.0.0.0/8 and fc00::/7."""


def _is_inward(block: Block) -> bool:
    ends = (block.network_address, block.broadcast_address)
    return block.prefixlen >= _SHORTEST_INWARD_PREFIX[block.version] and not any(is_public(end) for end in ends)


def _block(host: str) -> Block | None:
    bare = host.removeprefix("[").removesuffix("]")
    if "%" in bare:
        return None
    try:
        return ip_network(bare)
    except ValueError as error:
        if "host bits" in str(error):
            message = f"{host!r} is no block of addresses: did you mean {ip_network(bare, strict=False)}?"
            raise AllowlistError(message) from error
        return None


def _rule_name(text: str, rule: str) -> str:
    """The name in a rule; says what is wrong with the whole rule."""
    try:
        return _name(text)
    except AllowlistError as error:
        if "://" in rule or "/" in rule:
            reason = "give the host alone, without http:// and without a path"
        elif rule in ("*", "*."):
            reason = "everything is --network bridge"
        elif re.fullmatch(r"[^:]+:\d+", rule):
            reason = "give the host alone, without a port"
        else:
            reason = "give a name such as pypi.org, *.pypi.org, an address or a block such as 10.0.0.0/8"
        message = f"{rule!r} is no host: {reason}"
        raise AllowlistError(message) from error


def _name(text: str) -> str:
    try:
        # The old codec of the standard library: it knows no name of the newest letters, and lets none through wrongly.
        name = text.encode("ascii" if text.isascii() else "idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        name = ""
    labels = name.split(".")
    # A last label of digits makes resolvers read the whole as an address: 127.1, 0x7f.1.
    is_number = re.fullmatch(r"\d+|0x[0-9a-f]*", labels[-1]) is not None
    if len(name) > _LONGEST_NAME or is_number or not all(_LABEL.fullmatch(label) for label in labels):
        message = f"{text[:_LONGEST_NAME]!r} is no name of a host"
        raise AllowlistError(message)
    return name
