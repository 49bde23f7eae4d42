"""`evals manifest` and `evals diff`: what a run was, and what differs between two."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, cast

import typer

from unbroken.commands import runs_place
from unbroken.commands.records import Run

DIFFERENT = 1
Json = Annotated[bool, typer.Option("--json", help="As one JSON object.")]
_UNKNOWN, _NOTHING = "unknown", "none"
_ASKED = ("backend", "prices")


def manifest(run: Run, *, runs: runs_place.Runs = None, as_json: Json = False) -> None:
    """Print all that defines the score of a run, the images that its trials worked in, and each start."""
    from results.images import image_ids
    from results.records.stated_run import StatedRun
    from results.run_directory import find_run
    from results.tables import new_console, print_facts
    from results.visible_text import visible

    found = find_run(runs_place.runs_directory(runs, [run]), run)
    stated = StatedRun(
        manifest=found.manifest,
        sha256=found.manifest.sha256(),
        images=image_ids(found),
        begun=found.beginning(),
        starts=found.sessions(lambda _: None),
    )
    if as_json:
        typer.echo(stated.model_dump_json(indent=2))
        return
    facts = [("sha256", stated.sha256), *_facts("", stated.manifest.model_dump(mode="json"))]
    facts += _facts("images", stated.images)
    for number, start in enumerate(stated.starts, start=1):
        facts += _facts(f"start {number}", start.model_dump(mode="json"))
    print_facts(new_console(), [(name, visible(text)) for name, text in facts])


def diff(
    first: Annotated[str, typer.Argument(metavar="RUN_A", help="An id, its beginning or end, or a folder's path.")],
    second: Annotated[str, typer.Argument(metavar="RUN_B", help="The same.")],
    *,
    runs: runs_place.Runs = None,
    as_json: Json = False,
) -> None:
    """Say what differs between two runs: in their manifests, and in what became of the trials that both have.

    Exit: 0 nothing, 1 something.
    """
    from results.run_difference import run_difference
    from results.run_directory import find_run
    from results.visible_text import visible

    directory = runs_place.runs_directory(runs, [first, second])
    found = run_difference(find_run(directory, first), find_run(directory, second))
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        raise typer.Exit(0 if found.is_none else DIFFERENT)
    for difference in found.manifest:
        typer.echo(visible("\n".join(difference.lines())))
    for each in found.outcomes:
        name = f"{each.task_id}, attempt {each.attempt}" if each.attempt > 1 else each.task_id
        typer.echo(visible(f"{name}: {each.first} and {each.second}"))
    states = found.states
    typer.echo(
        f"{found.shared} trials in both: {states['both']} resolved in both, {states['first']} only in the first, "
        f"{states['second']} only in the second, {states['neither']} in neither"
    )
    raise typer.Exit(0 if found.is_none else DIFFERENT)


def _facts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Each value by its dotted key, and nothing left out. What nobody said of what is served is unknown."""
    if isinstance(value, Mapping) and value:
        for name, inner in cast("Mapping[str, Any]", value).items():
            yield from _facts(f"{key}.{name}" if key else name, inner)
    elif isinstance(value, list) and value:
        entries = cast("list[Any]", value)
        yield key, "\n".join(each if isinstance(each, str) else json.dumps(each) for each in entries)
    elif value is None:
        yield key, _UNKNOWN if key.startswith(_ASKED) else _NOTHING
    elif value in ({}, [], ""):
        yield key, _NOTHING
    else:
        yield key, value if isinstance(value, str) else json.dumps(value)
