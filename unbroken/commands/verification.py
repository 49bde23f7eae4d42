"""The options about how patches are judged."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from unbroken.commands.option_groups import VERIFIER, option

if TYPE_CHECKING:
    from evals.swebench.dataset import Dataset
    from evals.swebench.judging import Judging
    from evals.swebench.pro_scripts import ProScripts
    from evals.swebench.verifier_settings import VerifierSettings

_LONGEST = 7 * 24 * 3600.0


@dataclass(frozen=True)
class VerifierContainerOptions:
    """What is said about the verifiers' containers."""

    grade_network: Annotated[
        Literal["bridge", "none"],
        option("--grade-network", group=VERIFIER, help="What they reach; none is for images that lack nothing."),
    ] = "bridge"
    grade_cpus: Annotated[
        float | None,
        option("--grade-cpus", group=VERIFIER, min=0.01, metavar="N", help="Processors of each; all unless given."),
    ] = None
    grade_memory: Annotated[
        str | None,
        option("--grade-memory", group=VERIFIER, metavar="SIZE", help="Memory of each; no limit unless given."),
    ] = None
    grade_timeout: Annotated[
        float | None,
        option(
            "--grade-timeout",
            group=VERIFIER,
            min=1,
            metavar="SECONDS",
            help="What the tests of a task may take; 1800, and 3600 for SWE-bench Pro, unless given.",
        ),
    ] = None
    pro_scripts: Annotated[
        Path | None,
        option(
            "--pro-scripts",
            group=VERIFIER,
            metavar="DIR",
            help="SWE-bench Pro's evaluation: a checkout of its repository; fetched, at a pinned commit, unless given.",
        ),
    ] = None

    def judging(self, dataset: "Dataset[Any]", verdicts: Literal["both", "official"] = "official") -> "Judging":
        """How the patches of a dataset's tasks are judged.

        Raises ProScriptsError, or a usage error for what says nothing here.
        """
        from evals.swebench.judging import Judging

        if dataset.kind == "pro":
            return Judging(self._settings(verdicts), load_pro_scripts(dataset, self.pro_scripts))
        if self.pro_scripts is not None:
            message = f"{dataset.source} holds no rows of SWE-bench Pro"
            raise typer.BadParameter(message, param_hint="--pro-scripts")
        return Judging(self._settings(verdicts))

    def _settings(self, verdicts: Literal["both", "official"]) -> "VerifierSettings":
        from evals.swebench.verifier_settings import VerifierSettings
        from runners.sandbox_options import SandboxOptionError, SandboxOptions

        try:
            SandboxOptions.parse("none", cpus=self.grade_cpus, memory=self.grade_memory)
        except SandboxOptionError as error:
            raise typer.BadParameter(str(error), param_hint=f"--grade-{error.option}") from error
        if self.grade_timeout is not None and not self.grade_timeout < _LONGEST:
            message = f"{self.grade_timeout:g} seconds are no limit; a week is the longest"
            raise typer.BadParameter(message, param_hint="--grade-timeout")
        return VerifierSettings(verdicts, self.grade_network, self.grade_cpus, self.grade_memory, self.grade_timeout)


@dataclass(frozen=True)
class Verification(VerifierContainerOptions):
    """The same, and which verdicts there are."""

    verdicts: Annotated[
        Literal["both", "official"],
        option(
            "--verdicts", group=VERIFIER, help="Judge twice, officially and hardened against tricks, or officially."
        ),
    ] = "both"

    def asked(self, dataset: "Dataset[Any]") -> "Judging":
        """How the patches of a dataset's tasks are judged. Raises as `judging` does."""
        return self.judging(dataset, self.verdicts)


def load_pro_scripts(dataset: "Dataset[Any]", folder: Path | None) -> "ProScripts":
    """What SWE-bench Pro evaluates these tasks by, from a folder or fetched. Raises ProScriptsError."""
    import asyncio

    from evals.swebench.pro_scripts import read_folder
    from evals.swebench.pro_scripts_download import ProScriptsDownload

    ids = [row.instance_id for row in dataset.rows]
    return read_folder(folder, ids) if folder else asyncio.run(ProScriptsDownload().load(ids))
