"""Where runs are recorded: `--runs`, for every command."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

Runs = Annotated[
    str | None,
    typer.Option(
        metavar="DIR|URL",
        help="Where runs are recorded: a folder, or s3://… or file://… for several machines; $UNBROKEN_RUNS or your "
        "user's data folder unless given.",
    ),
]


def runs_directory(stated: str | None, names: Iterable[str] | None = None) -> Path:
    """Where runs are recorded: what was given, or this user's own place.

    Of runs at a URL this is a copy, into which those come that `names` may mean; all, unless given. Raises
    SharedStorageError.
    """
    from results.run_directory import default_runs_directory, shared_copies_directory
    from results.shared_storage import SharedStorage, is_url

    place = stated or os.environ.get("UNBROKEN_RUNS")
    if not place:
        return default_runs_directory()
    if not is_url(place):
        return Path(place)
    storage = SharedStorage.at(place, shared_copies_directory())
    storage.bring(names)
    return storage.copy


def own_runs_directory(stated: str | None) -> Path:
    """The same for commands whose runs stay on this machine. Raises a usage error for a URL."""
    from results.shared_storage import is_url

    place = stated or os.environ.get("UNBROKEN_RUNS") or ""
    if is_url(place):
        message = f"this command records on this machine alone, and {place} is shared"
        raise typer.BadParameter(message, param_hint="--runs")
    return runs_directory(stated)


def runs_option(runs: Path) -> str:
    """What has to be said so that other commands find the runs in `runs`."""
    from results.run_directory import default_runs_directory
    from results.shared_storage import SharedStorage

    if storage := SharedStorage.of(runs):
        return "" if os.environ.get("UNBROKEN_RUNS", "").rstrip("/") == storage.url else f" --runs {storage.url}"
    return "" if runs == default_runs_directory() else f" --runs {runs}"
