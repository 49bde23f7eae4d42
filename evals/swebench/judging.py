"""Which verifiers judge the patches of a run, made once for all of its trials."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evals.janitor import Janitor
from evals.swebench import hardened, official, pro_hardened, pro_verifier
from evals.swebench.grading import open_grader, swebench_version
from evals.swebench.hardened import HardenedVerifier
from evals.swebench.official import OfficialVerifier
from evals.swebench.pro_hardened import ProHardenedVerifier
from evals.swebench.pro_scripts import ProScripts
from evals.swebench.pro_verifier import ProVerifier
from evals.swebench.verifier import Verifier, VerifierContainers
from evals.swebench.verifier_settings import PROTOCOL, VerifierSettings

if TYPE_CHECKING:
    from docker import DockerClient


@dataclass(frozen=True)
class Judging:
    """How patches are judged: by SWE-bench's protocol, or, with its scripts, by that of SWE-bench Pro."""

    settings: VerifierSettings = PROTOCOL
    scripts: ProScripts | None = None

    def versions(self) -> dict[str, str]:
        """The verifiers that are asked for, each with its version, in the order in which they judge."""
        if self.scripts:
            origin = self.scripts.origin
            known = {pro_verifier.NAME: origin, pro_hardened.NAME: f"{pro_hardened.RULES}, {origin}"}
        else:
            swebench = swebench_version()
            known = {official.NAME: official.version(swebench), hardened.NAME: hardened.version(swebench)}
        return {name: known[name] for name in known if self.settings.verdicts == "both" or name == official.NAME}

    def description(self) -> dict[str, Any]:
        """What a manifest says of it beside the verifiers."""
        if self.scripts is None:
            return self.settings.description(official.EVALUATION_TIMEOUT)
        described = self.settings.description(pro_verifier.TIMEOUT)
        return {**described, "verifier_scripts_sha256": self.scripts.content_hash.removeprefix("sha256:")}

    @asynccontextmanager
    async def open(
        self, client: "DockerClient", janitor: Janitor, run: str, names: Sequence[str]
    ) -> AsyncGenerator[list[Verifier]]:
        """The verifiers of these names, ready to judge; `run` labels their containers.

        Raises SandboxOptionError for limits that the engine cannot set.
        """
        await self.settings.check(client)
        containers = VerifierContainers(client, janitor, run, self.settings)
        async with AsyncExitStack() as stack:
            made: list[Verifier]
            if self.scripts:
                made = [ProVerifier(containers, self.scripts), ProHardenedVerifier(containers, self.scripts)]
            else:
                grader = await stack.enter_async_context(open_grader())
                made = [OfficialVerifier(containers, grader), HardenedVerifier(containers, grader)]
            yield [verifier for verifier in made if verifier.name in names]


SWEBENCH = Judging()
"""As SWE-bench's own protocol has it, and hardened beside it."""
