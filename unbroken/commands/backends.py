"""The commands `agent backends …`: what serves models, and how each kind of it is spoken to."""

from pathlib import Path
from typing import Annotated

import typer

application = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Backends: find one, serve a scripted one, see dialects."
)


@application.command("find")
def find() -> None:
    """Name the model server that answers on this machine."""
    from agent.backends import find_local_server, list_models

    name, url = find_local_server()
    models = ", ".join(model.id for model in list_models(url)) or "no model is loaded"
    typer.echo(f"{url}  (the port of {name})  {_visible(models)}")


@application.command("serve-script")
def serve_script(
    script: Annotated[Path, typer.Argument(help="A YAML script; docs/scripted-backend.md has the format.")],
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen at; 0 means a free one.")] = 8000,
) -> None:
    """Serve a scripted backend until interrupted. It plays back a file, and says so."""
    from agent.scripted.server import run_forever

    try:
        run_forever(script, host, port)
    except OSError as error:
        message = f"{host}:{port} cannot be listened at: {error.strerror or error}; choose another with --port"
        raise typer.BadParameter(message, param_hint="--port") from error


@application.command("dialects")
def dialects() -> None:
    """List the dialects that `--dialect` takes, and where your own lie."""
    from agent.dialects.registry import (
        DialectError,
        dialect_names,
        is_own,
        load_dialect,
        own_dialects_directory,
        own_file,
    )

    names = dialect_names()
    width = max(map(len, names))
    for name in names:
        try:
            title = load_dialect(name).title
        except DialectError as error:
            title = f"cannot be used: {error}"
        where = f"  ({own_file(name)})" if is_own(name) else ""
        typer.echo(_visible(f"{name:{width}}  {title}{where}"))
    typer.echo(f"\nYour own: {own_dialects_directory()}/NAME.toml; docs/backends/own.md says how to write one.")


@application.command("show")
def show(name: Annotated[str, typer.Argument(metavar="NAME|FILE.toml", help="A dialect.")]) -> None:
    """Print a dialect's cells as TOML, with those that it takes over from another."""
    from agent.dialects.registry import load_dialect
    from agent.dialects.toml_text import dialect_as_toml

    typer.echo(dialect_as_toml(load_dialect(name)), nl=False)


def _visible(text: str) -> str:
    """Text that holds something of unknown origin, safe to print."""
    from results.visible_text import visible

    return visible(text)
