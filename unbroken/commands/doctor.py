"""The command `agent doctor`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from unbroken.commands import options

if TYPE_CHECKING:
    from agent.doctor.view import DoctorView
    from results.records.doctor import DoctorReport

DONE, LOST = 0, 1
_RETRIES = 1


def doctor(
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="URL|NAME",
            help="Where the model is served, as for `agent run`. Unless given, a server is looked for on this machine.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model's name; needed where the backend serves several.")
    ] = None,
    check: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Make this check alone; may be given again.")
    ] = None,
    long: Annotated[
        bool, typer.Option("--long", help="Also what takes minutes or costs money: long prompts, a full context.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, and nothing else.")] = False,
    thinking: Annotated[bool, typer.Option(help="Whether the model is asked to think.")] = True,
    context: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="The served context in tokens; the server is asked otherwise."),
    ] = None,
    dialect: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE.toml", help="How the server speaks; found out by asking it unless given."),
    ] = None,
    api_key_env: options.ApiKeyEnv = options.KEY_VARIABLE,
) -> None:
    """Examine a backend: what it is, whether its tools work, and whether the model keeps what it thought.

    Exit: 0 examined, 1 earlier thinking is lost, 2 usage, 5 backend unreachable, 130 interrupted.
    """
    import asyncio

    from agent.doctor.view import DoctorView

    asked = options.Asked(
        backend=backend,
        model=model,
        thinking=None if thinking else False,
        context=context,
        dialect=dialect,
        api_key_env=api_key_env,
        retries=_RETRIES,
    )
    view = DoctorView(sys.stdout)
    try:
        report = asyncio.run(_examine(asked, _names(check), None if json else view, long=long))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    if json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        view.end(report)
    raise typer.Exit(LOST if report.lost else DONE)


async def _examine(
    asked: options.Asked, names: tuple[str, ...], view: "DoctorView | None", *, long: bool
) -> "DoctorReport":
    import asyncio

    from agent.backends import open_backend
    from agent.doctor.examination import examine
    from agent.interrupts import cancelled_by_signals

    task = asyncio.current_task()
    assert task is not None
    with cancelled_by_signals(task):
        async with open_backend(asked.backend, asked.backend_options(asked.settings({})), _tell) as backend:
            if view is None:
                return await examine(backend, only=names, long=long)
            view.begin(backend.description)
            return await examine(backend, only=names, long=long, on_start=view.start, on_finding=view.show)


def _names(stated: list[str] | None) -> tuple[str, ...]:
    from agent.doctor.examination import CHECK_NAMES

    unknown = [name for name in stated or () if name not in CHECK_NAMES]
    if unknown:
        message = f"there is no check {unknown[0]!r}; there are: {', '.join(CHECK_NAMES)}"
        raise typer.BadParameter(message, param_hint="--check")
    return tuple(stated) if stated else CHECK_NAMES


def _tell(text: str) -> None:
    from results.visible_text import visible

    typer.echo(visible(text), err=True)
