"""Tables for a terminal, or for a pipe: there without colour, and every row on one line, however wide.

Where a terminal is too narrow for a table, each row becomes a few lines of its own: nothing is cut off.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from results.score import TrialResult
from results.summary import RunSummary, score_cells, trial_cells

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table as RichTable

_PIPE_WIDTH = 10_000
_RUN_COLUMNS = [
    "run",
    "benchmark",
    "agent on backend",
    "resolved",
    "95% interval",
    "hardened",
    "open",
    "errors",
    "cost",
    "started",
]
_SCORE_COLUMNS = [
    *("agent on backend", "resolved", "95% interval", "hardened", "open", "errors"),
    *("prompt", "cached share", "cache write", "reasoning", "output", "cost", "model", "tools", "harness"),
]
_TRIAL_COLUMNS = ["task", "attempt", "exit", "error", "verdict", "steps", "tokens", "time"]
_TEXT_COLUMNS = {"run", "benchmark", "agent on backend", "started", "task", "exit", "error", "verdict"}
_STYLES = {"resolved": "green", "resolved officially alone": "yellow", "not resolved": "red"}


class Table:
    """Rows of cells by the names of their columns; `rich` renders it to the width that there is."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
        self._columns = columns
        self._rows = rows

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        table = self._as_table()
        if console.measure(table, options=options.update(width=_PIPE_WIDTH)).maximum <= options.max_width:
            yield table
        else:
            yield from self._as_cards()

    def _as_table(self) -> "RichTable":
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for name in self._columns:
            table.add_column(name, justify="left" if name in _TEXT_COLUMNS else "right", no_wrap=True)
        for row in self._rows:
            table.add_row(*(Text(row[name], style=_STYLES.get(row[name], "")) for name in self._columns))
        return table

    def _as_cards(self) -> "Iterator[RenderableType]":
        from rich.padding import Padding
        from rich.text import Text

        first, *others = self._columns
        for row in self._rows:
            yield Text(row[first], style="bold", overflow="fold")
            yield Padding(Text(" · ".join(f"{name} {row[name]}" for name in others), overflow="fold"), (0, 0, 0, 2))


def new_console() -> "Console":
    """Standard output as rich writes to it."""
    from rich.console import Console

    console = Console(highlight=False, emoji=False, markup=False)
    return console if console.is_terminal else Console(width=_PIPE_WIDTH, no_color=True, highlight=False, markup=False)


def run_table(summaries: Sequence[RunSummary]) -> Table:
    """Runs, as `results list` shows them."""
    return Table(_RUN_COLUMNS, [score_cells(summary) for summary in summaries])


def score_table(summaries: Sequence[RunSummary]) -> Table:
    """The runs of a group side by side: score, tokens, cost, time; of several benchmarks, with their names."""
    several = len({summary.benchmark for summary in summaries}) > 1
    return Table([*(["benchmark"] if several else []), *_SCORE_COLUMNS], [score_cells(each) for each in summaries])


def trial_table(trials: Sequence[TrialResult], *, with_model: bool) -> Table:
    """Trials, each with exit, error and verdict."""
    return Table(_TRIAL_COLUMNS, [trial_cells(trial, with_model=with_model) for trial in trials])


def print_facts(console: "Console", facts: Sequence[tuple[str, str]]) -> None:
    """Named sentences, one below the other."""
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, sentence in facts:
        table.add_row(Text(name, style="bold"), Text(sentence))
    console.print(table)
