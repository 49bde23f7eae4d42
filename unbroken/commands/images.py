"""`evals images …`: the images of tasks, which are here, and which come and go."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unbroken.commands.option_groups import GroupedCommand, with_groups
from unbroken.commands.task_selection import TaskSelection

if TYPE_CHECKING:
    from docker import DockerClient

    from evals.images.pulling import Pulled, WantedImage
    from evals.images.remote_images import RemoteImages
    from evals.images.status import ImagesStatus

DONE, INCOMPLETE, INTERRUPTED = 0, 1, 130

application = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Images of tasks: what is here, pull, remove, carry elsewhere."
)

DatasetName = Annotated[str, typer.Option("--dataset", help="As for `evals swebench`; also pro, and rows of it.")]
Budget = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="What the images that this tool pulled may take on the disk, such as 200g."),
]


@application.command("status", cls=GroupedCommand)
@with_groups
def status(
    *,
    dataset: DatasetName,
    tasks: TaskSelection,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no registry what the missing images would cost.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show which images are here, what the missing ones will cost, and what room there is. Nothing is pulled.

    Exit: 0 all are here, 1 some are missing, 2 usage.
    """
    from evals.images.status import images_status

    names = [one.name for one in _wanted(dataset, tasks)]
    with _engine() as client, _remote(client) as remote:
        found = images_status(client, names, None if offline else remote)
    if json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        _tell_status(found)
    raise typer.Exit(INCOMPLETE if found.missing else DONE)


@application.command("pull", cls=GroupedCommand)
@with_groups
def pull(
    *,
    dataset: DatasetName,
    tasks: TaskSelection,
    at_once: Annotated[int, typer.Option(min=1, max=32, metavar="N", help="Pulls at the same time.")] = 3,
    budget: Budget = None,
    tries: Annotated[int, typer.Option(min=1, metavar="N", help="Tries at each image, the first included.")] = 6,
) -> None:
    """Pull the images that are missing. What was interrupted goes on where it was.

    With a budget, images that this tool pulled earlier, and that no container uses, go first, the least recently used
    of them first. Exit: 0 all are here, 1 some are not, 2 usage, 130 interrupted.
    """
    from evals.images.patience import Patience
    from evals.images.pulled_images import PulledImages
    from evals.images.pulling import Pulling

    budget_bytes = _bytes(budget)
    wanted = _wanted(dataset, tasks)
    with _engine() as client, _remote(client) as remote:
        record = PulledImages.of(client)
        record.read()  # a damaged one is told of before anything is pulled
        pulling = Pulling(client, record, remote, budget_bytes, Patience(tries), _tell)
        try:
            results = pulling.pull_all(wanted, _Progress(len(wanted)), at_once)
        except KeyboardInterrupt:
            _tell("interrupted; the same command goes on where this one was")
            raise typer.Exit(INTERRUPTED) from None
    failed = [one for one in results if one.image is None]
    if failed:
        _tell(f"\n{len(failed)} of {len(wanted)} images are not here; the same command tries them again:")
        for one in sorted(failed, key=lambda one: one.name):
            _tell(f"  {one.name}: {one.failure}")
    raise typer.Exit(INCOMPLETE if failed else DONE)


@application.command("prune")
def prune(
    *,
    budget: Budget = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all that this tool pulled.")] = False,
    imported: Annotated[
        bool, typer.Option("--imported", help="Also those that `evals images import` brought; else they are not ours.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """Remove images that this tool pulled, the least recently used first; others stay.

    So do those that a container uses, or that a live run needs. Exit: 0, or 1 where more is left than was asked for,
    2 usage.
    """
    from evals.images.eviction import OwnImages, choose, in_use, remove, size_of_own
    from evals.images.patience import ImageError
    from evals.images.pulled_images import PulledImages
    from evals.images.sizes import shown

    if everything == (budget is not None):
        raise typer.BadParameter("say how much may stay: --budget SIZE, or --all to keep nothing")
    allowed = _bytes(budget) or 0
    with _engine() as client:
        record = PulledImages.of(client)
        images = OwnImages(client, record).here(imported=imported)
        reasons = in_use(client, record, images)
        choice = choose(images, allowed, {}, reasons)
        failed = 0
        for own in choice.staying:
            _tell(f"kept {own.name}: {reasons[own.name]}")
        for own in choice.going:
            try:
                if not dry_run:
                    remove(client, record, own)
                typer.echo(f"{'would remove' if dry_run else 'removed'} {own.name}")
            except ImageError as error:
                failed += 1
                _tell(str(error))
    left = len(images) - len(choice.going) + failed
    typer.echo(f"{shown(size_of_own(images))} before, {shown(choice.size)} in {left} images left")
    raise typer.Exit(INCOMPLETE if failed or choice.size > allowed else DONE)


@application.command("export", cls=GroupedCommand)
@with_groups
def export(
    *,
    place: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|FILE.tar", help="A folder, for an archive of each repository; or one archive for all."
        ),
    ],
    dataset: DatasetName,
    tasks: TaskSelection,
) -> None:
    """Write the images of tasks to archives, with an index, for a machine that reaches no registry.

    What is there and whole stays, and is not written again: an export adds. Exit: 0, 1 where an image is missing,
    2 usage.
    """
    from evals.images.archive_index import index_path
    from evals.images.exporting import export_images

    wanted = _wanted(dataset, tasks)
    with _engine() as client:
        export_images(client, wanted, place, typer.echo)
    typer.echo(f"index: {index_path(place)}")


@application.command("import")
def import_(
    place: Annotated[
        Path, typer.Argument(metavar="DIR|FILE.tar", help="What `export` wrote, with the index that lies beside it.")
    ],
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Also take names away from other images on this machine.")
    ] = False,
) -> None:
    """Load images from archives, each checked before it is loaded, and after.

    Only `prune --imported` removes them again. Exit: 0 all are here, 1 some are not, 2 usage.
    """
    from evals.images.archive_index import index_path
    from evals.images.importing import Importing
    from evals.images.pulled_images import PulledImages

    if not index_path(place).is_file():
        message = f"there is no index {index_path(place)}; `evals images export` writes it with the archives"
        raise typer.BadParameter(message, param_hint="DIR|FILE.tar")
    with _engine() as client:
        record = PulledImages.of(client)
        record.read()  # a damaged one is told of before anything is loaded
        failed = Importing(client, record, _say, force).import_all(place)
    raise typer.Exit(INCOMPLETE if failed else DONE)


def _wanted(dataset: str, tasks: TaskSelection) -> "list[WantedImage]":
    from evals.images.pulling import wanted_images

    return wanted_images(tasks.load(dataset, _tell).rows)


@contextmanager
def _engine() -> "Generator[DockerClient]":
    import requests

    from evals.images.patience import ImageError
    from runners.docker_engine import connect, engine_errors

    with engine_errors(), closing(connect()) as client:
        try:
            yield client
        except (requests.RequestException, ConnectionError, TimeoutError):
            raise
        except OSError as error:  # of a file: the engine has no part in it
            message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise ImageError(message) from error


@contextmanager
def _remote(client: "DockerClient") -> "Generator[RemoteImages]":
    from evals.images.registry import Registries
    from evals.images.registry_access import engine_access
    from evals.images.remote_images import RemoteImages, default_cache, engine_platform

    info: dict[str, object] = client.info()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    with Registries(engine_access(info)) as registries:
        yield RemoteImages(registries, engine_platform(info), default_cache())


def _bytes(text: str | None) -> int | None:
    from runners.sandbox_options import SandboxOptionError, size_in_bytes

    try:
        return None if text is None else size_in_bytes(text, "budget")
    except SandboxOptionError as error:
        raise typer.BadParameter(str(error), param_hint="--budget") from error


class _Progress:
    """Prints a line for each image."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._over = 0

    def __call__(self, pulled: "Pulled") -> None:
        from evals.images.arrivals import tell_changed
        from evals.images.sizes import shown
        from results.wording import duration

        self._over += 1
        if pulled.image is None:
            how = f"failed: {pulled.failure}"
        elif pulled.was_here:
            how = "here already"
        else:
            how = f"pulled, {shown(pulled.image.size)}, {pulled.image.digest}, {duration(pulled.seconds)}"
        _say(f"[{self._over}/{self._total}] {pulled.name}  {how}")
        if pulled.image and pulled.earlier_digest:
            _tell(tell_changed(pulled.name, pulled.earlier_digest, pulled.image.digest))


def _tell_status(found: "ImagesStatus") -> None:
    from evals.images.sizes import shown

    for here in found.here:
        _say(f"here     {here.name}  {here.digest or here.image_id}  {shown(here.size)}")
    for missing in found.missing:
        known = missing.download is not None and missing.on_disk is not None
        size = f"{shown(missing.download or 0)} to download, {shown(missing.on_disk or 0)} on the disk"
        _say(f"missing  {missing.name}  {size if known else f'unknown: {missing.problem}'}")
    total = len(found.here) + len(found.missing)
    _say(f"\n{len(found.here)} of {total} images are here: {shown(found.here_size)}, shared layers counted once")
    if found.missing:
        _say(f"{len(found.missing)} are missing: {_cost(found)}")
    _say(
        "free for images: "
        + ("unknown, the engine is not on this machine" if found.free is None else shown(found.free))
    )
    if found.free is not None and found.cost.on_disk is not None and found.cost.on_disk > found.free:
        _say("that is less than the missing images take; `evals images prune` makes room, or select fewer tasks")


def _cost(found: "ImagesStatus") -> str:
    from evals.images.sizes import shown

    cost = found.cost
    if cost.on_disk is None:
        return "what they cost is unknown"
    download = "an unknown size" if cost.download is None else shown(cost.download)
    what = f"{download} to download, {shown(cost.on_disk)} on the disk"
    if not cost.is_estimate:
        return what
    basis = f"{cost.known} of them are known" if cost.known else "they are taken to be like those that are here"
    return f"{what} (an estimate: {basis})"


def _say(text: str) -> None:
    from results.visible_text import visible

    typer.echo(visible(text))


def _tell(text: str) -> None:
    from results.visible_text import visible

    typer.echo(visible(text), err=True)
