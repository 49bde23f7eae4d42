"""Options that several commands share, as dataclasses: a command names the dataclass, and gets all of its options.

    @application.command(cls=GroupedCommand)
    @with_groups
    def run(task: …, asked: Asked, json: … = False) -> None: ...

`Asked` is a frozen dataclass each of whose fields is `Annotated[type, typer.Option(…)]` with a default.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import typer
from typer.core import TyperCommand

ARGUMENTS, OPTIONS, LIMITS, SAMPLING = "Arguments", "Options", "Limits", "Sampling and thinking"
TASKS, CONTAINERS, VERIFIER = "Which tasks", "Containers", "Verdicts (how patches are judged)"
COST, CONNECTION, RECORDS = "Cost", "Connection", "Records"
SERVED = "What is served (recorded; the server's own word unless given)"
GROUPS = (ARGUMENTS, OPTIONS, TASKS, LIMITS, CONTAINERS, VERIFIER, SAMPLING, COST, CONNECTION, SERVED, RECORDS)
"""The groups of a command's help in their order: what is used daily comes first."""


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` the options of every parameter whose annotation is a dataclass, in that parameter's place."""
    hints = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters.values()
    groups = {one.name: hints[one.name] for one in parameters if dataclasses.is_dataclass(hints[one.name])}

    @functools.wraps(command)
    def call(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in dataclasses.fields(group)})
        command(**given)

    options: list[inspect.Parameter] = []
    for one in parameters:
        if one.name in groups:
            options += _options(groups[one.name])
        else:
            options.append(one.replace(annotation=hints[one.name], kind=inspect.Parameter.KEYWORD_ONLY))
    # typer reads both: the one for the order, the other for what it cannot find there.
    call.__dict__["__signature__"] = inspect.Signature(options)
    call.__annotations__ = {option.name: option.annotation for option in options}
    return call


class GroupedCommand(TyperCommand):
    """A command whose help shows its options in groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write each group that has options as a section of its own."""
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in GROUPS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_argument = parameter.param_type_name == "argument"
                title = ARGUMENTS if is_argument else getattr(parameter, "rich_help_panel", None) or OPTIONS
                sections[title].append(record)
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def option(*names: str, group: str | None = None, **settings: Any) -> Any:
    """An option that stands in one of GROUPS; anything else as `typer.Option` takes it."""
    return typer.Option(*names, rich_help_panel=group, **settings)


def _options(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in dataclasses.fields(group)
    ]
