"""A run at work, as a person at a terminal sees it: how far it is, what it has come to, and where each trial is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evals.scheduling.live_run import LiveRun
from results.records.control import LiveTrial
from results.score import cached_share
from results.statistics import wilson_interval
from results.visible_text import visible

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_SPARE_LINES = 5
"""Of the terminal, for the two lines above the table and what was printed before."""
_PHASES = {
    "sandbox": "container",
    "agent": "agent",
    "waiting": "waits for its verdict",
    "judging": "tests",
}


def live_table(live: LiveRun, before: tuple[int, int], left: int, height: int, now: float) -> "RenderableType":
    """What to show.

    `before`: how many trials earlier starts have resolved, and how many judged. `left`: the trials that are not over.
    `height`: lines of the terminal.
    """
    from rich.console import Group
    from rich.text import Text

    trials = live.trials
    shown = trials[: max(1, height - _SPARE_LINES)]
    lines: list[RenderableType] = [Text(score_line(live, before, left)), Text(pace_line(live, left))]
    if shown:
        lines.append(trials_table(shown, now))
    if len(trials) > len(shown):
        lines.append(Text(f"and {len(trials) - len(shown)} more"))
    return Group(*lines)


def trials_table(trials: Sequence[LiveTrial], now: float) -> "Table":
    """Where each of these trials is."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("trial", "where", "step", "time"):
        table.add_column(name, justify="right" if name in ("step", "time") else "left", no_wrap=True)
    for trial in trials:
        table.add_row(*_cells(trial, now))
    return table


def score_line(live: LiveRun, before: tuple[int, int], left: int) -> str:
    """How many are resolved, with the interval, and how many are over."""
    tally = live.tally
    resolved, judged = tally.resolved + before[0], tally.judged + before[1]
    parts = [f"{tally.over} of {tally.over + left} trials over"]
    if interval := wilson_interval(resolved, judged):
        parts.insert(0, f"{resolved}/{judged} resolved ({interval.low:.1%} to {interval.high:.1%})")
    if tally.errors:
        parts.append(f"{tally.errors} errors")
    return ", ".join(parts)


def pace_line(live: LiveRun, left: int) -> str:
    """How fast it goes, what it costs, and how long it will take."""
    parts = [f"{duration(live.seconds)} so far"]
    remaining = live.seconds_left(left)
    if remaining is not None:
        parts.append(f"about {duration(remaining)} to go")
    if rate := live.output_tokens_per_second:
        parts.append(f"{rate:.0f} tokens/s")
    if (share := cached_share(live.tally.usage)) is not None:
        parts.append(f"{share:.0%} of prompts cached")
    if live.tally.cost:
        parts.append(f"${live.tally.cost:.2f}")
    if live.changed_to is not None:
        parts.append("paused" if live.changed_to.paused else f"{live.changed_to.concurrency} at once")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """`48 s`, `12 min`, `3 h 05 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def _cells(trial: LiveTrial, now: float) -> tuple[str, str, str, str]:
    attempt = f" #{trial.attempt}" if trial.attempt > 1 else ""
    step = str(trial.step) if trial.step else ""
    return visible(trial.task_id) + attempt, _PHASES[trial.phase], step, duration(now - trial.since)
