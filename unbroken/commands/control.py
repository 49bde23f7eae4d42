"""`evals ctl`: a run that is at work is looked at, paused, and given more or less to do at once."""

import time
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from unbroken.commands import runs_place

if TYPE_CHECKING:
    from results.records.control import Change, LiveState
    from results.run_directory import RunDirectory

_PATIENCE = 10.0
_STALE = 10.0
"""Seconds after which what a run said of itself is no longer taken for true: it says it every two."""

Action = Literal["status", "pause", "resume", "concurrency", "verifications", "requests"]
_NUMBERS = ("concurrency", "verifications", "requests")


def ctl(
    *,
    run: Annotated[str, typer.Argument(help="A folder, an id, or the beginning or the end of one.")],
    action: Annotated[Action, typer.Argument(help="What to do; the last three take a number.")] = "status",
    number: Annotated[int | None, typer.Argument(min=1, metavar="N", help="How many at once.")] = None,
    runs: runs_place.Runs = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the run says of itself as JSON.")] = False,
) -> None:
    """Look at a run that is at work, pause it, or change what it does at once.

    pause: no further trial begins, those that have begun go on; resume: go on. concurrency, verifications, requests:
    so many at once from now on; what has begun is not broken off. It holds until the run ends, and no longer. Exit: 0
    it is so, 1 no process is at work on the run.
    """
    from results.run_directory import find_run

    if (number is not None) != (action in _NUMBERS):
        message = f"{action} takes {'a number' if action in _NUMBERS else 'none'}"
        raise typer.BadParameter(message, param_hint="N")
    found = find_run(runs_place.runs_directory(runs, [run]), run)
    state = _state(found)
    if action != "status":
        state = _change(found, _asked(action, number))
    _tell(found, state, as_json=as_json)


def _asked(action: Action, number: int | None) -> "Change":
    from results.records.control import Change

    if action in ("pause", "resume"):
        return Change(time=time.time(), paused=action == "pause")
    return Change.model_validate({"time": time.time(), action: number})


def _state(run: "RunDirectory") -> "LiveState":
    """What the run says of itself. Raises RunIdleError."""
    from evals.scheduling.control import live_state

    state = live_state(run.path)
    if state is None or time.time() - state.time > _STALE:
        raise RunIdleError(run.manifest.run_id)
    return state


def _change(run: "RunDirectory", change: "Change") -> "LiveState":
    """Ask for it, and wait until it holds. Raises RunIdleError where nobody heeds it."""
    from evals.scheduling.control import ask

    wanted, deadline = ask(run.path, change), time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        state = _state(run)
        if state.changes >= wanted:
            return state
        time.sleep(0.1)
    raise RunIdleError(run.manifest.run_id)


def _tell(run: "RunDirectory", state: "LiveState", *, as_json: bool) -> None:
    from evals.scheduling.live_table import trials_table
    from results.tables import new_console

    if as_json:
        typer.echo(state.model_dump_json(indent=2))
        return
    requests = "any number of" if state.requests is None else state.requests
    typer.echo(
        f"run {run.manifest.run_id}, process {state.pid}: {'paused, ' if state.paused else ''}"
        f"{state.over} trials over, {state.left} left; at once {state.concurrency} agents, "
        f"{state.verifications} verifications, {requests} requests"
    )
    if state.trials:
        new_console().print(trials_table(state.trials, time.time()))


class RunIdleError(Exception):
    """No process is at work on a run."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"no process is at work on run {run_id}; `evals resume {run_id}` goes on with it")
