"""What is shown of a run while it is at work: a table at a terminal, lines in a pipe, or events for a program."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from unbroken.commands.running import Progress, exit_code

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from evals.execution import RunResult
    from evals.scheduling.live_run import LiveRun
    from evals.trial import Report
    from results.records.outcome import Outcome
    from results.records.progress import ProgressEvent
    from results.records.verdict import Verdict
    from results.run_directory import RunDirectory, TrialDirectory

_REFRESH = 0.5


def _events_alone(context: typer.Context, as_json: bool) -> bool:
    """What else is printed goes to the standard error."""
    if as_json:
        context.with_resource(contextlib.redirect_stdout(sys.stderr))
    return as_json


AsJson = Annotated[
    bool,
    typer.Option(
        "--json", callback=_events_alone, help="Print what goes on as events, one JSON object a line, and nothing else."
    ),
]


@dataclass(frozen=True)
class Watch:
    """Who is told of a run that is at work."""

    report: "Report"
    live: "LiveRun"


@contextlib.asynccontextmanager
async def watching(run: "RunDirectory", left: int, *, as_json: bool) -> "AsyncGenerator[Watch]":
    """Show what goes on in a run of whose trials `left` are to be done."""
    from evals.scheduling.live_run import LiveRun

    if as_json:
        from results.records.progress import RunBegins

        resolved, judged = _before(run, left)
        events = _Events(sys.__stdout__ or sys.stdout)
        begins = RunBegins(
            time=time.time(),
            run_id=run.manifest.run_id,
            path=str(run.path.resolve()),
            trials=len(run.trials()),
            left=left,
            resolved_before=resolved,
            judged_before=judged,
        )
        events(begins)
        yield Watch(_no_report, LiveRun(events))
    elif sys.stdout.isatty() and os.environ.get("TERM") not in (None, "dumb"):
        live = LiveRun()
        async with _table(run, live, left):
            yield Watch(Progress(left), live)
    else:
        yield Watch(Progress(left), LiveRun())


def tell_end(run: "RunDirectory", result: "RunResult") -> None:
    """Print the last event."""
    from results.records.progress import RunEnds

    ends = RunEnds(
        time=time.time(),
        run_id=run.manifest.run_id,
        finished=result.finished,
        errors=result.errors,
        interrupted=result.interrupted,
        exit_code=exit_code(result),
    )
    _Events(sys.__stdout__ or sys.stdout)(ends)


def _no_report(trial: "TrialDirectory", outcome: "Outcome", verdicts: "Sequence[Verdict]") -> None:
    """The events say it."""


class _Events:
    """Prints events; once nobody reads them any more, the run goes on without."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __call__(self, event: "ProgressEvent") -> None:
        from results.record_files import encode

        with contextlib.suppress(OSError, ValueError):
            self._file.write(encode(event).decode() + "\n")
            self._file.flush()


@contextlib.asynccontextmanager
async def _table(run: "RunDirectory", live: "LiveRun", left: int) -> AsyncGenerator[None]:
    """Keep a table below what is printed, until the run is over."""
    from rich.console import Console
    from rich.live import Live

    console, before = Console(), _before(run, left)
    with Live(console=console, auto_refresh=False, transient=True) as shown:
        refreshing = asyncio.create_task(_refresh(shown, console, live, before, left))
        try:
            yield
        finally:
            refreshing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await refreshing


async def _refresh(shown: "Live", console: "Console", live: "LiveRun", before: tuple[int, int], left: int) -> None:
    from evals.scheduling.live_table import live_table

    while True:
        height = console.size.height
        table = live_table(live, before, left - live.tally.over, height, time.time())
        shown.update(table, refresh=True)
        await asyncio.sleep(_REFRESH)


def _before(run: "RunDirectory", left: int) -> tuple[int, int]:
    """How many trials earlier starts have resolved, and how many judged, for good. Raises DamagedFileError."""
    if left == len(run.trials()):
        return 0, 0
    from evals.resume import is_finished
    from results.score import score, trial_result

    verifiers = run.manifest.verifiers
    earlier = score([trial_result(trial) for trial in run.trials() if is_finished(trial, verifiers)])
    return earlier.resolved, earlier.n
