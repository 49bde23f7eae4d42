"""The option `--config`: a job configuration of Harbor's in the place of options."""

from pathlib import Path
from typing import Annotated

import typer

from unbroken.commands.option_groups import option
from unbroken.commands.running import tell


def _take(context: typer.Context, files: list[Path] | None) -> list[Path] | None:
    """Let what the files say hold wherever the command line says nothing."""
    if files:
        from evals.terminal_bench.harbor_job import JobConfigError, load_jobs, option_values

        try:
            job, notes = load_jobs(files)
        except JobConfigError as error:
            raise typer.BadParameter(str(error), param_hint="--config") from error
        for note in notes:
            tell(note)
        context.default_map = {**(context.default_map or {}), **option_values(job)}
    return files


JobConfigs = Annotated[
    list[Path] | None,
    option(
        "--config",
        "-c",
        metavar="FILE",
        is_eager=True,
        callback=_take,
        help="A job configuration of Harbor's, YAML or JSON; may be repeated, later ones win. Options win over it.",
    ),
]
