"""How a run begins, or goes on: `evals resume RUN`, `--run-id`, and what is recorded of the command."""

import errno
import os
import shlex
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unbroken.commands import runs_place
from unbroken.commands.option_groups import RECORDS, option
from unbroken.commands.running import tell
from unbroken.invocation import Invocation

if TYPE_CHECKING:
    from evals.resume import Contents
    from results.records.manifest import Beginning, Manifest, SessionRecord
    from results.records.stated_run import StatedRun
    from results.run_directory import RunDirectory

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
_BEGIN_RUNS = ("swebench", "terminal-bench")
RunId = Annotated[
    str | None,
    option(
        "--run-id", group=RECORDS, metavar="ID",
        help="A name of your own for the run. Where there is such a run, it goes on, if it is the same.",
    ),
]  # fmt: skip


@dataclass(frozen=True)
class Start:
    """The start of a run by a command."""

    command: tuple[str, ...] = ()
    """The arguments of `evals`, without secrets."""
    run_id: str | None = None
    resumed: "RunDirectory | None" = None
    replayed: "RunDirectory | None" = None
    live_from: int | None = None
    """The step from which a model answers instead."""
    stated: "StatedRun | None" = None
    """A run that this one is to be the same as."""
    as_json: bool = False
    """Whether events are printed, and nothing else."""

    @classmethod
    def of(cls, context: typer.Context, run_id: str | None, secrets: Collection[str], *, as_json: bool) -> "Start":
        """The start that the command in `context` is; `secrets` are taken out of what is recorded of it."""
        from agent.redaction import redacted

        invocation = Invocation.of(context)
        if invocation.replayed:
            return cls(replayed=invocation.replayed, live_from=invocation.live_from, as_json=as_json)
        command = tuple(redacted(argument, secrets) for argument in invocation.arguments)
        return cls(command, run_id, invocation.resumed, stated=invocation.stated, as_json=as_json)

    def open(self, runs: Path, manifest: "Manifest", content_sha256: "Contents") -> "RunDirectory":
        """A new run, or the one that is to go on, with what is asked for beyond its attempts and tasks.

        Raises ManifestChangedError where that one is another, RunExistsError, and ValueError for an id that is none.
        """
        from evals.resume import same_run
        from results.records.manifest import Beginning
        from results.run_directory import RunDirectory

        if self.replayed:
            return replay_of(self.replayed, runs, manifest, self.live_from)
        if self.resumed:
            return same_run(self.resumed, manifest, content_sha256)
        if self.stated:
            from unbroken.commands.from_manifest import tell_what_differs

            tell_what_differs(self.stated, manifest)
        beginning = Beginning(command=list(self.command), directory=str(Path.cwd())) if self.command else None
        if self.run_id is None:
            return RunDirectory.create(runs, manifest, beginning)
        own = manifest.model_copy(update={"run_id": self.run_id})
        if (runs / self.run_id / "run.json").is_file():
            return same_run(RunDirectory.open(runs / self.run_id), own, content_sha256)
        return RunDirectory.create(runs, own, beginning)


def replay_of(recorded: "RunDirectory", runs: Path, manifest: "Manifest", live_from: int | None) -> "RunDirectory":
    """A new run that plays back a recorded one; tells what has changed since, which may be why it differs."""
    from results.manifest_difference import manifest_differences
    from results.run_directory import RunDirectory, new_run_id

    for difference in manifest_differences(recorded.manifest, manifest):
        if not difference.key.startswith("benchmark."):  # fewer tasks may be asked for
            tell(f"not as it was recorded: {difference}")
    run_id = new_run_id("fork" if live_from else "replay")
    changed = {"run_id": run_id, "replay_of": recorded.manifest.run_id, "live_from": live_from}
    return RunDirectory.create(runs, manifest.model_copy(update=changed))


class RunStoppedError(Exception):
    """A run that could not write on; the message says how it goes on."""


@contextmanager
def going_on_told(run: "RunDirectory") -> Generator[None]:
    """Where the disk takes no more, say in one sentence what to do. Raises RunStoppedError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        message = (
            f"run {run.manifest.run_id} has stopped, since {run.path} cannot be written: {error.strerror}. What was "
            f"recorded stays; once it can be written again, `evals resume {run.path}` goes on"
        )
        raise RunStoppedError(message) from error


def trials_left(run: "RunDirectory") -> int:
    """How many trials of a run have yet to be done. Raises DamagedFileError."""
    from evals.resume import is_finished

    return sum(not is_finished(trial, run.manifest.verifiers) for trial in run.trials())


def announce(run: "RunDirectory", who: str, left: int) -> None:
    """Print the first line of a run."""
    total = len(run.trials())
    amount = f"{total} trials" if left == total else f"it goes on, {left} of {total} trials are left"
    typer.echo(f"run {run.manifest.run_id}: {amount}, {who}")


def resume(
    context: typer.Context,
    *,
    run: Annotated[str, typer.Argument(help="A folder, an id, or the beginning or the end of one.")],
    runs: runs_place.Runs = None,
) -> None:
    """Go on with a run that was broken off: what has a verdict stays, everything else is done.

    Options behind RUN stand in the place of those that the run was begun with: how much is done at once, where the
    model is served now, more attempts or tasks. What would make it another run is refused, with what differs. Exit: as
    the command that began it.
    """
    from results.run_directory import find_run
    from unbroken.commands.evals import application

    found, arguments = begun(find_run(runs_place.runs_directory(runs, [run]), run))
    arguments = (*arguments, *context.args)
    application(list(arguments), prog_name="evals", obj=Invocation(arguments, resumed=found))


def begun(run: "RunDirectory") -> "tuple[RunDirectory, tuple[str, ...]]":
    """The arguments with which a run was begun, in whose working directory we are from here on.

    They are told, since a run may come from somebody else.
    """
    start = _last_start(run)
    check_begins_runs(start.command, f"run {run.manifest.run_id}")
    tell(f"as it was begun: evals {shlex.join(start.command)}")
    found = type(run)(run.path.resolve(), run.manifest)
    if start.directory and Path(start.directory).is_dir():
        os.chdir(start.directory)
    return found, tuple(start.command)


def check_begins_runs(command: Sequence[str], run: str) -> None:
    """Raise ValueError for a recorded command that is none that begins runs. `run`: how it is called."""
    if command[0] not in _BEGIN_RUNS:
        message = f"{run} says that it was begun with `evals {command[0]}`, which begins none"
        raise ValueError(message)


def check_whole(command: Sequence[str], run: str, instead: str) -> None:
    """Raise ValueError where a recorded command is not there, or not as it was. `instead`: what a person can do."""
    from agent.redaction import REDACTED

    if not command:
        message = f"{run} does not say with which command it was begun; {instead}"
        raise ValueError(message)
    if any(REDACTED in argument for argument in command):
        message = f"the command that began {run} held a secret, which is not recorded; {instead}"
        raise ValueError(message)


def _last_start(run: "RunDirectory") -> "SessionRecord | Beginning":
    recorded = [start for start in (run.beginning(), *run.sessions(lambda _: None)) if start and start.command]
    run_id = run.manifest.run_id
    command = recorded[-1].command if recorded else ()
    check_whole(command, f"run {run_id}", f"give that command again with --run-id {run_id}")
    return recorded[-1]
