"""How patches are judged, as a person asks for it and as a manifest states it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from runners.sandbox_options import SandboxOptions

if TYPE_CHECKING:
    from docker import DockerClient

Network = Literal["bridge", "none"]
"""What the verifiers' containers reach: everything, as the protocol has it, or nothing, for prepared images."""
Verdicts = Literal["both", "official"]
"""Which verdicts: the hardened one alone would say nothing that can be compared."""
ENVIRONMENT = {"TZ": "UTC", "PYTHONHASHSEED": "0"}
"""Pinned, since verdicts differ by them (SWE-bench/SWE-bench#602)."""


@dataclass(frozen=True)
class VerifierSettings:
    """What could change a verdict. Unless asked for otherwise it is what swebench does, but for the pinned environment.

    498 of the 500 rows of Verified run pip in their script, so the protocol has a network; images in which all that it
    asks for is there already can do without.
    """

    verdicts: Verdicts = "both"
    network: Network = "bridge"
    cpus: float | None = None
    memory: str | None = None
    """With a unit, as Docker takes it: `4g`."""
    timeout: float | None = None
    """Seconds for a task's script; the protocol's own limit unless given."""

    def description(self, protocol_timeout: float) -> dict[str, Any]:
        """What a manifest says of it; which verdicts there are, it says apart."""
        return {
            "verifier_network": self.network,
            "verifier_cpus": self.cpus,
            "verifier_memory": self.memory,
            "verifier_timeout_seconds": self.timeout or protocol_timeout,
            "verifier_environment": ENVIRONMENT,
        }

    async def check(self, client: "DockerClient") -> None:
        """Raise SandboxOptionError for limits that this engine cannot set, before each container fails of them."""
        await SandboxOptions.parse("none", cpus=self.cpus, memory=self.memory).check(client)

    @classmethod
    def described(cls, sandbox: Mapping[str, Any]) -> "VerifierSettings":
        """The settings that a manifest states. Which verdicts they are for stands elsewhere in it."""
        return cls(
            network="none" if sandbox.get("verifier_network") == "none" else "bridge",
            cpus=sandbox.get("verifier_cpus"),
            memory=sandbox.get("verifier_memory"),
            timeout=sandbox.get("verifier_timeout_seconds"),
        )


PROTOCOL = VerifierSettings()
"""Both verdicts, as the benchmark's protocol has its containers."""
