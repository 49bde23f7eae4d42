"""`agent prefix TRAJECTORY`: whether the prefix cache of a server could hit in a recorded conversation, or why not."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unbroken.commands import options

if TYPE_CHECKING:
    from agent.prefix.exchanges import Recorded
    from agent.prefix.report import CauseTotal, Divergence, PrefixReport

AVOIDABLE = 1
_SHOWN = 5

_BODIES = {
    "proved": "each request's bytes begin with those of the one before (put together anew; every hash is as recorded)",
    "lengths": "each request is longer than the one before by what was appended (the hashes cannot be checked)",
    "broken": "NOT append-only from step {step} on: {detail}",
    "unknown": "not checked: {detail}",
}


def prefix(
    trajectory: Annotated[
        Path, typer.Argument(metavar="TRAJECTORY", help="A trajectory.jsonl, or the folder of a session or try.")
    ],
    template: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The model's chat_template.jinja, to render the prompts with.")
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="URL|NAME", help="A llama.cpp or vLLM server with the model, to be asked for the prompts."
        ),
    ] = None,
    preserve: Annotated[
        bool | None,
        typer.Option(
            help="See what it would be with or without preserve_thinking; as it was sent unless given.",
            show_default=False,
        ),
    ] = None,
    api_key_env: options.ApiKeyEnv = options.KEY_VARIABLE,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Check that each prompt of a recorded conversation begins with the one before it and what the model wrote then.

    Exit: 0 nothing is lost that could be kept, 1 something is, 2 usage.
    """
    import asyncio

    from agent.prefix.renderers import RendererError

    recorded = _read(trajectory, preserve)
    try:
        report = asyncio.run(_audit(recorded, template, backend, api_key_env))
    except RendererError as error:
        raise typer.BadParameter(str(error), param_hint="--template" if template else "--backend") from error
    typer.echo(report.model_dump_json(indent=2) if json else "\n".join(_lines(report)))
    if report.avoidable or report.bodies.status == "broken":
        raise typer.Exit(AVOIDABLE)


def _read(path: Path, preserve: bool | None) -> "Recorded":
    from agent.prefix.exchanges import recorded_exchanges
    from results.record_files import DamagedFileError
    from results.trajectory import read_trajectory

    file = path / "trajectory.jsonl" if path.is_dir() else path
    try:
        events = read_trajectory(file, lambda sentence: typer.echo(sentence, err=True))
        recorded = recorded_exchanges(events, preserve)
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror or error}"
        raise typer.BadParameter(message, param_hint="TRAJECTORY") from error
    except DamagedFileError as error:
        raise typer.BadParameter(str(error), param_hint="TRAJECTORY") from error
    except ValueError as error:
        message = f"{file}: {error}"
        raise typer.BadParameter(message, param_hint="TRAJECTORY") from error
    return recorded


async def _audit(recorded: "Recorded", template: Path | None, backend: str | None, key_variable: str) -> "PrefixReport":
    from agent.backend_choice import read_address, read_key
    from agent.prefix.audit import audit
    from agent.prefix.renderers import LocalTemplate
    from agent.prefix.servers import open_server_renderer

    if (template is None) == (backend is None):
        raise typer.BadParameter(
            "say how the prompts are to be rendered: with the model's chat_template.jinja (--template FILE), or by a "
            "llama.cpp or vLLM server that has the model (--backend URL)",
            param_hint="--template",
        )
    if template is not None:
        return await audit(recorded, LocalTemplate(template))
    address = read_address(backend or "")
    async with open_server_renderer(address, read_key(key_variable)) as renderer:
        return await audit(recorded, renderer)


def _lines(report: "PrefixReport") -> list[str]:
    bodies = report.bodies
    status = _BODIES[bodies.status].format(step=bodies.step, detail=bodies.detail)
    apart = f", and {report.skipped} that stand apart" if report.skipped else ""
    segments = f" in {report.segments} segments" if report.segments > 1 else ""
    lines = [
        f"prompts as rendered by {report.renderer}",
        f"requests   {report.requests}{segments}{apart}; {report.checked} of them follow another",
        f"bytes      {status}",
        f"thinking   of {report.thinking_turns} turns that thought, the last prompt shows {report.thinking_shown}",
    ]
    if not report.checked:
        return [*lines, "prompts    nothing to compare: no request follows another"]
    if not report.divergences:
        return [*lines, "prompts    unbroken: each begins with the one before it and what the model wrote then"]
    lines += [f"prompts    {len(report.divergences)} of {report.checked} do not begin with the one before", ""]
    lines += _table(report.totals)
    shown = _first_of_each(report)
    for divergence in shown[:_SHOWN]:
        lines += ["", *_place(divergence)]
    if more := len(report.divergences) - len(shown[:_SHOWN]):
        lines += ["", f"{more} more of these; --json has them all"]
    return lines


def _table(totals: "list[CauseTotal]") -> list[str]:
    rows = [("cause", "times", "characters lost", "tokens (about)", "avoidable")]
    for total in totals:
        tokens = "unknown" if total.lost_tokens is None else f"{total.lost_tokens:,}"
        avoidable = "yes" if total.avoidable else "no"
        rows.append((total.cause, str(total.times), f"{total.lost_characters:,}", tokens, avoidable))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _first_of_each(report: "PrefixReport") -> "list[Divergence]":
    """The first divergence of all, and then the first of each other cause."""
    seen: set[tuple[str, bool]] = set()
    first: list[Divergence] = []
    for divergence in report.divergences:
        kind = (divergence.cause, divergence.avoidable)
        if kind not in seen:
            seen.add(kind)
            first.append(divergence)
    return first


def _place(divergence: "Divergence") -> list[str]:
    from results.visible_text import visible

    where = "the tools" if divergence.message_index is None else f"message {divergence.message_index}"
    role = "" if divergence.message_index is None else f" ({divergence.role})"
    return [
        visible(line)
        for line in (
            f"step {divergence.step}, {where}{role}: {divergence.cause}",
            f"  was   {divergence.expected}",
            f"  is    {divergence.found}",
            f"  do    {divergence.remedy}",
        )
    ]
