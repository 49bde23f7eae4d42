"""`evals clean`: what killed runs left behind goes away."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from docker import DockerClient

    from runners.reaper import Reaping

CLEAN, INCOMPLETE = 0, 1


def clean(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    all_hosts: Annotated[
        bool,
        typer.Option(
            "--all-hosts",
            help="Also what other machines, or containers that Unbroken runs in, made in this Docker engine, "
            "although they may be using it right now.",
        ),
    ] = False,
) -> None:
    """Remove containers, images of them, networks, volumes, folders and processes that dead runs left.

    What a live run uses stays, and so does everything that was recorded. Exit: 0, or 1 if something is still there, or
    could not be looked at.
    """
    from runners.reaper import reap

    client = _engine()
    reaping = reap(client, all_hosts=all_hosts, dry_run=dry_run)
    if client is not None:
        client.close()
    _tell(reaping, dry_run=dry_run)
    raise typer.Exit(INCOMPLETE if client is None or reaping.failed or reaping.unseen else CLEAN)


def _engine() -> "DockerClient | None":
    from runners.docker_engine import EngineUnavailableError, connect

    try:
        return connect()
    except EngineUnavailableError as error:
        reason = str(error).partition("\n")[0]
        typer.echo(f"containers, networks and volumes were not looked at: {reason}", err=True)
        return None


def _tell(reaping: "Reaping", *, dry_run: bool) -> None:
    from results.visible_text import visible

    done = "would remove" if dry_run else "removed"
    for remnant in reaping.removed:
        typer.echo(visible(f"{done} {remnant}"))
    for remnant, reason in reaping.failed:
        typer.echo(visible(f"could not remove {remnant}: {reason}\n  by hand: {remnant.by_hand}"), err=True)
    for sentence in reaping.unseen:
        typer.echo(visible(sentence), err=True)
    for remnant in reaping.left:
        typer.echo(visible(f"left alone: {remnant}\n  by hand: {remnant.by_hand}"))
    typer.echo(f"{done} {reaping.counts}" if reaping.removed else "nothing to remove")
