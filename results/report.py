"""The report on a group of runs: one HTML file that needs nothing else, not even a script.

Whatever stands in a trajectory stays text: everything is escaped, characters that act are made visible, and the
page's own policy forbids scripts and every address.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from results import wording
from results.facts import SCRIPTED_NOTICE, Fact, outcome_facts, run_facts
from results.record_files import DamagedFileError
from results.records.manifest import Group
from results.run_directory import RunDirectory, TrialDirectory
from results.score import TrialResult
from results.steps import Shown, shown_entries
from results.summary import RunDetails, describe, score_cells, summarise_group
from results.tables import Table
from results.tables import score_table as table_of_scores
from results.trajectory import read_trajectory
from results.visible_text import one_line, shortened
from results.whole_files import write_whole

if TYPE_CHECKING:
    from jinja2 import Template

_TEMPLATES = Path(__file__).parent / "templates"
_PAGE_CHARACTERS = 20_000_000
_TRIAL_CHARACTERS = range(20_000, 400_000)
_PATCH_CHARACTERS = 20_000
_SCORE_COLUMNS = ["open", "errors", "prompt", "cached", "cached share", "cache write", "reasoning", "output", "cost"]
_TIME_COLUMNS = ["model", "tools", "harness"]


@dataclass(frozen=True)
class _Interval:
    """A bar, in percent of its width."""

    label: str
    low: str
    width: str
    rate: str


@dataclass(frozen=True)
class _Trial:
    """A trial as the page shows it; its conversation is read when the page comes to it."""

    anchor: str
    result: TrialResult
    facts: list[Fact]
    patch: list[tuple[str, str]]
    """Its lines, each with its kind: `added`, `removed`, `place`, `same`."""
    path: str
    directory: TrialDirectory
    characters: int

    @property
    def entries(self) -> Iterator[Shown]:
        """The conversation of the try that counts, as far as there is room for it."""
        tries = {one.number: one for one in self.directory.tries()}
        one = tries.get(self.result.try_number or max(tries, default=0))
        if one is None or not one.trajectory_path.exists():
            return
        notes: list[str] = []
        try:
            yield from shown_entries(read_trajectory(one.trajectory_path, notes.append), self.characters)
        except (DamagedFileError, OSError) as error:
            notes.append(str(error))
        for note in notes:
            yield Shown("note", one_line(note, 500))


@dataclass(frozen=True)
class _Run:
    """A run as the page shows it."""

    details: RunDetails
    facts: list[Fact]
    cells: dict[str, str]
    interval: _Interval | None
    errors: str
    trials: list[_Trial]


def write_report(runs: Path, group: Group) -> Path:
    """Write `groups/<group-id>.html` below `runs`, whole, and return its path. Raises DamagedFileError."""
    opened = [RunDirectory.open(runs / run_id) for run_id in group.run_ids]
    trials = sum(len(run.manifest.benchmark.task_ids) * run.manifest.attempts for run in opened)
    room = _PAGE_CHARACTERS // max(1, trials)
    characters = min(max(room, _TRIAL_CHARACTERS.start), _TRIAL_CHARACTERS.stop)
    shown = [_run(number, run, characters) for number, run in enumerate(opened, start=1)]
    style = (_TEMPLATES / "report.css").read_text(encoding="utf-8")
    page = _template().render(
        title=one_line(group.title),
        group_id=one_line(group.group_id),
        created=wording.moment(group.created),
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        scripted_notice=SCRIPTED_NOTICE,
        score_columns=_SCORE_COLUMNS,
        time_columns=_TIME_COLUMNS,
        runs=shown,
        tasks=_matrix(shown),
    )
    path = runs / "groups" / f"{group.group_id}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_whole(path, page.encode("utf-8", "replace"))


def score_table(runs: Path, group: Group) -> Table:
    """The scores of a group's runs, for a terminal: `new_console().print(score_table(runs, group))`.

    Raises DamagedFileError.
    """
    return table_of_scores(summarise_group(runs, group))


def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["one_line"] = one_line
    return environment.get_template("report.html.jinja")


def _run(number: int, run: RunDirectory, characters: int) -> _Run:
    details = describe(run)
    trials = [
        _Trial(
            anchor=f"run-{number}-trial-{position}",
            result=result,
            facts=outcome_facts(result, run.manifest),
            patch=_patch(directory, result),
            path=one_line(str(directory.path), 1_000),
            directory=directory,
            characters=characters,
        )
        for position, (directory, result) in enumerate(zip(run.trials(), details.trials, strict=True), start=1)
    ]
    score = details.summary.score
    cells = score_cells(details.summary)
    return _Run(
        details, run_facts(details), cells, _interval(details), wording.errors(score) if score.bounds else "", trials
    )


def _interval(details: RunDetails) -> _Interval | None:
    score = details.summary.score
    if score.interval is None or score.rate is None:
        return None
    return _Interval(
        label=f"{wording.resolved(score)}, 95% interval {wording.interval(score.interval)}",
        low=f"{score.interval.low * 100:.2f}",
        width=f"{(score.interval.high - score.interval.low) * 100:.2f}",
        rate=f"{score.rate * 100:.2f}",
    )


def _patch(directory: TrialDirectory, result: TrialResult) -> list[tuple[str, str]]:
    paths = [one.patch_path for one in directory.tries() if one.number == result.try_number]
    if not paths or not paths[0].exists():
        return []
    text = shortened(paths[0].read_bytes().decode("utf-8", "replace"), _PATCH_CHARACTERS)
    return [(_line_kind(line), line) for line in text.splitlines()]


def _line_kind(line: str) -> str:
    if line.startswith(("+++", "---", "@@", "diff ")):
        return "place"
    return {"+": "added", "-": "removed"}.get(line[:1], "same")


def _matrix(runs: Sequence[_Run]) -> list[tuple[str, list[list[_Trial]]]]:
    """Each task with its trials in every run; a run that does not have the task has none."""
    tasks = dict.fromkeys(trial.result.task_id for run in runs for trial in run.trials)
    return [
        (one_line(task), [[trial for trial in run.trials if trial.result.task_id == task] for run in runs])
        for task in tasks
    ]
