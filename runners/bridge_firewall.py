"""Closes this machine's own services to the containers of one network, but for the ports of ours.

Containers of an internal network still reach every service that listens on all addresses of the machine, through the
network's gateway. Docker leaves that open, and its own chain for rules of ours (DOCKER-USER) is about what is passed
on, not about what is meant for the machine. So there are rules here for the network's interface, where we may set any:
that takes root.
"""

import asyncio
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

INTERFACE_PREFIX = "sandbox-"
"""Interfaces that have rules of ours begin with it, so that rules which outlived theirs can be found."""


@dataclass
class BridgeFirewall:
    """The rules for one interface."""

    interface: str
    gateway: str
    ports: list[int] = field(default_factory=list[int])
    """Those at the gateway that stay open."""
    is_shared: bool = False
    """Whether the containers on it may reach one another."""
    _is_set: bool = False

    async def open(self) -> str:
        """Set the rules. Returns why they cannot be set, or nothing."""
        await remove_stale_rules()
        for program, rule in self._rules():
            refused = await _run(program, "-I", *rule)
            if refused and program == _IPV4:
                await self.close()
                return refused
        self._is_set = True
        return ""

    async def admit(self, port: int) -> None:
        """Open one port more, where the others are closed."""
        if port in self.ports:
            return
        self.ports.append(port)
        if self._is_set:
            await _run(_IPV4, "-I", *self._accept(port))

    async def close(self) -> None:
        """Take the rules away. Safe to call twice, and without having opened it."""
        self._is_set = False
        for program, rule in self._rules():
            await _run(program, "-D", *rule)

    def _rules(self) -> list[tuple[str, tuple[str, ...]]]:
        """Each goes in front of those before it."""
        elsewhere = ("!", "-o", self.interface) if self.is_shared else ()
        return [
            # Refused rather than dropped: who tries the direct way learns it at once, and not after two minutes.
            (_IPV4, ("FORWARD", "-i", self.interface, *elsewhere, "-j", "REJECT")),
            (_IPV4, ("INPUT", "-i", self.interface, "-j", "REJECT")),
            *((_IPV4, self._accept(port)) for port in self.ports),
            (_IPV6, ("INPUT", "-i", self.interface, "-j", "DROP")),
        ]

    def _accept(self, port: int) -> tuple[str, ...]:
        place = ("-d", f"{self.gateway}/32", "-p", "tcp", "--dport", str(port))
        return ("INPUT", "-i", self.interface, *place, "-j", "ACCEPT")


async def remove_stale_rules() -> None:
    """Remove the rules of networks that are gone: those of a harness that was killed."""
    for program in (_IPV4, _IPV6):
        listed = await asyncio.to_thread(_output, program)
        for rule in filter(_is_stale, map(shlex.split, listed.splitlines())):
            await _run(program, "-D", *rule[1:])


_IPV4, _IPV6 = "iptables", "ip6tables"
_DEADLINE = 20.0
_INTERFACES = Path("/sys/class/net")


def _is_stale(rule: list[str]) -> bool:
    if rule[:1] != ["-A"] or "-i" not in rule:
        return False
    interface = rule[rule.index("-i") + 1]
    return interface.startswith(INTERFACE_PREFIX) and not (_INTERFACES / interface).exists()


def _output(program: str) -> str:
    try:
        done = subprocess.run([program, "-w", "-S"], capture_output=True, text=True, timeout=_DEADLINE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


async def _run(program: str, *arguments: str) -> str:
    """Run it; returns why it failed, or nothing."""

    def run() -> str:
        try:
            done = subprocess.run(
                [program, "-w", *arguments], capture_output=True, text=True, timeout=_DEADLINE, check=False
            )
        except FileNotFoundError:
            return f"there is no {program}"
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it says nothing"])[-1]

    return await asyncio.to_thread(run)
