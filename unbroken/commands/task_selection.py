"""The options that say which tasks of a dataset are worked on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from unbroken.commands.option_groups import TASKS, option

if TYPE_CHECKING:
    from evals.swebench.dataset import Dataset
    from evals.swebench.selection import Selection


@dataclass(frozen=True)
class TaskSelection:
    """Which tasks were asked for. What is None or empty was not given."""

    instances: Annotated[
        str,
        option(group=TASKS, help="Instance ids, separated by commas; * and ? stand for any text. All unless given."),
    ] = ""
    tasks: Annotated[
        Path | None,
        option(group=TASKS, metavar="FILE", help='Only the ids of a file: one a line, or JSON with "tasks" in it.'),
    ] = None
    exclude_file: Annotated[
        Path | None, option(group=TASKS, metavar="FILE", help="Not the ids of a file, one a line; # begins a comment.")
    ] = None
    repository: Annotated[
        list[str] | None,
        option(group=TASKS, metavar="NAME", help="Only of this repository: django/django, or django; may be repeated."),
    ] = None
    difficulty: Annotated[
        list[str] | None,
        option(group=TASKS, metavar="TEXT", help="Only of this difficulty, such as '1-4 hours'; may be repeated."),
    ] = None
    created_after: Annotated[
        str | None, option(group=TASKS, metavar="DATE", help="Only those created on this date or later.")
    ] = None
    created_before: Annotated[
        str | None, option(group=TASKS, metavar="DATE", help="Only those created earlier than this date.")
    ] = None
    sample: Annotated[
        int | None,
        option(group=TASKS, min=1, metavar="N", help="N of them by chance, the same for the same --seed everywhere."),
    ] = None
    seed: Annotated[
        int | None, option(group=TASKS, metavar="S", help="Which sample; 0 unless given. A larger one holds it.")
    ] = None
    slice_: Annotated[
        str | None,
        option("--slice", group=TASKS, metavar="A:B", help="Those from position A up to B of what is selected so far."),
    ] = None
    shard: Annotated[
        str | None,
        option(group=TASKS, metavar="I/N", help="The I-th of N equal parts of all that, for N machines."),
    ] = None
    complete_from: Annotated[
        str | None,
        option(
            group=TASKS,
            metavar="NAME|FILE",
            help="For a dataset of swebench 4.x: where the columns that it lacks are taken from, such as verified.",
        ),
    ] = None

    def load(self, dataset: str, tell: Callable[[str], None]) -> "Dataset[Any]":
        """The tasks of `dataset` that were asked for; `tell` hears where they came from.

        Raises DatasetError, or a usage error for a value that says nothing.
        """
        return self.load_both(dataset, tell)[1]

    def load_both(self, dataset: str, tell: Callable[[str], None]) -> "tuple[Dataset[Any], Dataset[Any]]":
        """The whole of `dataset`, and what was asked for of it. Raises as `load`."""
        from evals.swebench.dataset import load_dataset

        selection = self.selection()  # before anything is fetched
        whole = load_dataset(dataset, tell=tell, complete_from=self.complete_from)
        return whole, whole.selected(selection)

    def selection(self) -> "Selection":
        """What was asked for. Raises a usage error that names the option."""
        from evals.swebench.selection import Selection, Shard, parse_date, parse_slice
        from evals.swebench.selection_files import read_ids

        if self.seed is not None and self.sample is None:
            raise typer.BadParameter("there is no --sample that it would be for", param_hint="--seed")
        return Selection(
            ids=[name.strip() for name in self.instances.split(",") if name.strip()],
            tasks=_understood(read_ids, self.tasks, "--tasks"),
            excluded=_understood(read_ids, self.exclude_file, "--exclude-file") or (),
            repositories=self.repository or (),
            difficulties=self.difficulty or (),
            created_after=_understood(parse_date, self.created_after, "--created-after"),
            created_before=_understood(parse_date, self.created_before, "--created-before"),
            sample=self.sample,
            seed=self.seed or 0,
            part=_understood(parse_slice, self.slice_, "--slice"),
            shard=_understood(Shard.parse, self.shard, "--shard"),
        )


_Given = TypeVar("_Given")
_Meant = TypeVar("_Meant")


def _understood(read: "Callable[[_Given], _Meant]", given: _Given | None, name: str) -> _Meant | None:
    from evals.swebench.columns import DatasetError

    if given is None:
        return None
    try:
        return read(given)
    except DatasetError as error:
        raise typer.BadParameter(str(error), param_hint=name) from error
