"""Which verifiers a run has, by the names under which its manifest states them."""

from collections.abc import Sequence
from typing import Literal

from evals.swebench import hardened, official
from evals.swebench.grading import Grader, swebench_version
from evals.swebench.hardened import HardenedVerifier
from evals.swebench.official import OfficialVerifier
from evals.swebench.verifier import EVALUATION_TIMEOUT, Verifier, VerifierContainers

Verdicts = Literal["both", "official"]
"""What a person asks for. The hardened one alone would say nothing that can be compared."""


def versions(asked: Verdicts) -> dict[str, str]:
    """The verifiers that are asked for, each with its version, as a manifest has them."""
    swebench = swebench_version()
    always = {official.NAME: official.version(swebench)}
    return always | {hardened.NAME: hardened.version(swebench)} if asked == "both" else always


def make_verifiers(
    names: Sequence[str], containers: VerifierContainers, grader: Grader, timeout: float = EVALUATION_TIMEOUT
) -> list[Verifier]:
    """The verifiers of these names, in the order in which they judge."""
    made: list[Verifier] = [
        OfficialVerifier(containers, grader, timeout),
        HardenedVerifier(containers, grader, timeout),
    ]
    return [verifier for verifier in made if verifier.name in names]
