"""`evals run --manifest`: the same run again, wherever; and what is not the same there."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unbroken.commands.running import tell
from unbroken.commands.starting import check_begins_runs, check_whole
from unbroken.invocation import Invocation

if TYPE_CHECKING:
    from results.records.manifest import Manifest
    from results.records.stated_run import StatedRun
    from results.run_directory import RunDirectory

_RUN_ID = "--run-id"


def run(
    context: typer.Context,
    *,
    manifest: Annotated[
        Path, typer.Option("--manifest", metavar="FILE", help="What `evals manifest RUN --json` printed.")
    ],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask whether the command in it shall be carried out.")
    ] = False,
) -> None:
    """Begin a new run that is the same as another one, and say what is not the same on this machine.

    It is begun with the other one's command, in this folder; options behind it stand in the place of those in it:
    where the model is served here, where the tasks lie. Exit: as that command.
    """
    from unbroken.commands.evals import application

    stated = read_stated_run(manifest)
    arguments = (*without_run_id(stated.command), *context.args)
    tell(f"as run {stated.manifest.run_id} was begun: evals {shlex.join(arguments)}")
    if not yes:
        _confirm()
    application(list(arguments), prog_name="evals", obj=Invocation(arguments, stated=stated))


def read_stated_run(path: Path) -> "StatedRun":
    """What a file says. Raises a usage error where it says nothing that could be begun again."""
    from pydantic import ValidationError

    from results.records.stated_run import StatedRun

    try:
        stated = StatedRun.model_validate_json(path.read_bytes())
        name = f"run {stated.manifest.run_id}, in {path},"
        check_whole(stated.command, name, "begin it with that command")
        check_begins_runs(stated.command, name)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise typer.BadParameter(message, param_hint="--manifest") from error
    except ValidationError as error:
        message = f"{path} is not what `evals manifest RUN --json` prints: {error.errors()[0]['msg']}"
        raise typer.BadParameter(message, param_hint="--manifest") from error
    return stated


def without_run_id(arguments: Sequence[str]) -> list[str]:
    """A command that begins a run of its own: it does not go on with the one that it began."""

    def kept() -> Iterator[str]:
        rest = iter(arguments)
        for argument in rest:
            if argument == _RUN_ID:
                next(rest, None)
            elif not argument.startswith(f"{_RUN_ID}="):
                yield argument

    return list(kept())


def tell_what_differs(stated: "StatedRun", manifest: "Manifest") -> None:
    """Before a run begins: what of its manifest, and of this machine, is not as it was stated."""
    from evals.session import commit_here, machine_here
    from results.manifest_difference import manifest_differences

    scripted = manifest.backend is not None and manifest.backend.scripted  # its server has another port each time
    for difference in manifest_differences(stated.manifest, manifest):
        if not scripted or difference.key != "backend.base_url":
            tell(f"not as in the manifest: {difference}")
    if stated.starts:
        last, commit = stated.starts[-1], commit_here()
        for name, then, now in (("machine", last.machine, machine_here()), ("harness", last.commit, commit)):
            if then != now:
                tell(f"another {name}: {then or 'unknown'}, and here {now or 'unknown'}")


def tell_other_images(stated: "StatedRun", run: "RunDirectory") -> None:
    """When it is over: the images, which are known by then."""
    from results.images import image_ids

    here = image_ids(run)
    for task_id, there in stated.images.items():
        if here.get(task_id, there) != there:
            tell(f"another image: {task_id} was worked on in {there}, and here in {here[task_id]}")


def _confirm() -> None:
    """Ask a person: a file may come from anywhere, and its command says where keys are sent."""
    if not sys.stdin.isatty():
        message = "nobody can be asked whether to carry out the command above: give --yes if you know who made the file"
        raise typer.BadParameter(message, param_hint="--manifest")
    typer.confirm("Carry it out?", abort=True, err=True)
