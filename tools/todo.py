"""The `todo` tool: a list of what is to be done, which the model keeps where it can see it, in its own conversation."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from tools.output import clean, neutralise
from tools.parameters import Parameters
from tools.sandbox import OutputListener, Sandbox
from tools.tool import Access, ToolResult

State = Literal["done", "in progress", "open"]

_MARKS: dict[str, State] = {"x": "done", "X": "done", "~": "in progress", ">": "in progress", " ": "open", "": "open"}
_SHOWN: dict[State, str] = {"done": "[x]", "in progress": "[~]", "open": "[ ]"}
_ITEM = re.compile(r"\s*(?:[-*+]\s+|\d+[.)]\s+)?(?:\[(?P<mark>[xX~> ]?)\]\s*)?(?P<text>.*?)\s*")
"""A line as people write them in Markdown: with a bullet or a number, or without."""


class TodoParameters(Parameters):
    """What a call of `todo` takes."""

    items: str = Field(
        description="The whole list, one item a line: `[ ]` before what is open, `[~]` before what you are doing now, "
        "`[x]` before what is done."
    )


@dataclass(frozen=True)
class _Item:
    state: State
    text: str


class Todo:
    """Gives the list back, numbered and counted. The call itself is where it is kept: there is no other state."""

    name = "todo"
    description = (
        "Write down what you have to do, and how far you are, in work that takes many steps. Each call gives the "
        "whole list, which replaces the one before; the answer is the list with its items numbered."
    )
    parameters = TodoParameters

    def access(self, arguments: TodoParameters) -> Access:  # noqa: ARG002
        """Say that nothing is changed."""
        return "read"

    async def __call__(
        self,
        arguments: TodoParameters,
        sandbox: Sandbox,  # noqa: ARG002 - a list needs no machine
        on_output: OutputListener | None = None,  # noqa: ARG002
    ) -> ToolResult:
        """Answer with the list."""
        items = _read(clean(arguments.items))
        lines = [f"{number}. {_SHOWN[item.state]} {item.text}" for number, item in enumerate(items, start=1)]
        return ToolResult(neutralise("\n".join([_summary(items), *lines])))


def _read(text: str) -> list[_Item]:
    matches = (_ITEM.fullmatch(line) for line in text.split("\n"))
    return [_Item(_MARKS[match["mark"] or ""], match["text"]) for match in matches if match and match["text"]]


def _summary(items: list[_Item]) -> str:
    if not items:
        return "The list is empty."
    counts = Counter(item.state for item in items)
    states: tuple[State, ...] = ("done", "in progress", "open")
    counted = ", ".join(f"{counts[state]} {state}" for state in states if counts[state])
    return f"{len(items)} {'item' if len(items) == 1 else 'items'}: {counted}"
