"""`agent config`: where things lie, what there is to choose from, what a profile or a preset says."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from unbroken.commands import options

if TYPE_CHECKING:
    from agent.profiles.preset import Preset
    from agent.profiles.profile import Profile

application = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="What is set, and what can be chosen.")


@application.callback()
def config() -> None:
    """What is set, and what can be chosen."""


@application.command()
def show(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A profile or a preset, to see each value and its source.")
    ] = None,
    api_key_env: Annotated[
        str, typer.Option(metavar="NAME", help="The environment variable that holds the backend's key.")
    ] = options.KEY_VARIABLE,
) -> None:
    """Where things lie, and which dialects, profiles and presets there are; or all that one of them says."""
    rows = _places(api_key_env) if name is None else _cells(_find(name))
    lines = list(rows)
    width = max(len(first) for first, _ in lines)
    for first, second in lines:
        typer.echo(f"{first:{width}}  {second}".rstrip())


def _places(key_variable: str) -> Iterator[tuple[str, str]]:
    from agent.dialects.registry import dialect_names, own_dialects_directory
    from agent.profiles.prices import own_prices_path
    from agent.profiles.registry import config_directory, presets, profiles
    from results.run_directory import default_runs_directory

    yield "settings", _place(config_directory())
    yield "sessions", _place(options.data_directory() / "sessions")
    yield "runs", _place(default_runs_directory())
    yield "key", f"{key_variable} is {'set' if os.environ.get(key_variable, '').strip() else 'not set'}"
    yield "profiles", _names(profiles().names(), profiles().own_names())
    yield "presets", _names(presets().names(), presets().own_names())
    own = sorted(path.stem for path in own_dialects_directory().glob("*.toml"))
    yield "dialects", _names(dialect_names(), own)
    yield "own prices", _place(own_prices_path())


def _find(name: str) -> "Profile | Preset":
    from agent.profiles.registry import presets, profiles

    for shelf in (profiles(), presets()):
        if name in shelf.names():
            return shelf.load(name)
    names = ", ".join([*profiles().names(), *presets().names()])
    message = f"there is no profile and no preset {name!r}; there are: {names}"
    raise typer.BadParameter(message, param_hint="NAME")


def _cells(found: "Profile | Preset") -> Iterator[tuple[str, str]]:
    yield "name", found.name
    yield "title", found.title
    for name in type(found).model_fields:
        if name not in ("name", "title"):
            yield from _lines(name, getattr(found, name))


def _lines(path: str, value: Any) -> Iterator[tuple[str, str]]:
    from agent.profiles.stated import Cells, Stated

    match value:
        case Stated():
            stated = cast("Stated[Any]", value)
            yield path, f"{stated.value}  ({stated.origin})"
        case Cells():
            for name in type(value).model_fields:
                yield from _lines(f"{path}.{name}", getattr(value, name))
        case dict():
            for name, part in cast("dict[str, Any]", value).items():
                yield from _lines(f"{path}.{name}", part)
        case tuple():
            yield path, ", ".join(cast("tuple[str, ...]", value)) or "any"
        case None:
            return
        case _:
            yield path, str(value)


def _place(path: Path) -> str:
    return str(path) if path.exists() else f"{path}  (not there yet)"


def _names(names: list[str], own: list[str]) -> str:
    return ", ".join(f"{name} (your own)" if name in own else name for name in names)
