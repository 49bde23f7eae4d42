"""Shows on a terminal what an agent thinks, says and does, as it happens."""

import asyncio
import json
import sys
from typing import Any, TextIO, cast

from agent.approval import Decision
from agent.backend import DeltaKind
from results.records.events import EndEvent, Event, PatchEvent, ResponseEvent, RetryEvent, StartEvent, ToolResultEvent
from tools.output import clean

_DIM, _BOLD, _RED, _GREEN, _CYAN, _RESET = "\x1b[2m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[36m", "\x1b[0m"
_SHOWN_LINES = 12
_SHOWN_ARGUMENT = 400


class TerminalView:
    """A listener that writes to `out`, in colour where `out` is a terminal."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._colour = self._out.isatty()
        self._streaming: DeltaKind | None = None

    def delta(self, kind: DeltaKind, text: str) -> None:
        """Show thinking and speech as they stream in; calls are shown when they are whole."""
        if kind == "tool_call":
            return
        if kind != self._streaming:
            self._end_stream()
            self._write("thinking  " if kind == "reasoning" else "", _DIM)
            self._streaming = kind
        self._write(clean(text), _DIM if kind == "reasoning" else "")

    def output(self, data: bytes) -> None:
        """Leave output to the result, which is cut to what a person can read."""

    def event(self, event: Event) -> None:
        """Show what happened."""
        self._end_stream()
        match event:
            case StartEvent():
                self._start(event)
            case ResponseEvent():
                for call in event.received.tool_calls:
                    self._line(f"{call.name}  {_shown_arguments(call.arguments)}", _CYAN)
            case ToolResultEvent():
                self._result(event)
            case RetryEvent():
                self._line(f"retry in {event.wait_seconds:.1f} s: {event.reason}", _RED)
            case PatchEvent():
                self._patch(event.patch)
            case EndEvent():
                self._end(event)
            case _:
                pass

    def _start(self, event: StartEvent) -> None:
        if event.backend:
            scripted = "  (scripted: replies come from a file, not from a model)" if event.backend.scripted else ""
            self._line(f"{event.backend.model} at {event.backend.base_url}{scripted}", _BOLD)
        self._line(f"{event.sandbox}  {event.directory}  tools: {event.toolset}", _DIM)

    def _result(self, event: ToolResultEvent) -> None:
        lines = str(event.sent["content"]).splitlines()
        for line in lines[:_SHOWN_LINES]:
            self._line(f"  {clean(line)}", _RED if event.is_error or event.denied else _DIM)
        if len(lines) > _SHOWN_LINES:
            self._line(f"  … {len(lines) - _SHOWN_LINES} more lines", _DIM)

    def _patch(self, patch: str) -> None:
        self._line("")
        for line in clean(patch).splitlines():
            colour = {"+": _GREEN, "-": _RED, "@": _CYAN}.get(line[:1], "")
            self._line(line, _BOLD if line.startswith(("+++", "---", "diff ")) else colour)

    def _end(self, event: EndEvent) -> None:
        outcome = event.outcome
        usage = outcome.usage
        numbers = [f"{outcome.steps} steps", f"{outcome.time.total:.1f} s"]
        numbers += [f"{_count(usage.prompt_tokens)} prompt tokens ({_count(usage.cached_tokens)} cached)"]
        numbers += [f"{_count(usage.output_tokens)} output tokens"]
        numbers += [] if outcome.cost is None else [f"${outcome.cost:.4f}"]
        self._line("")
        self._line(f"{outcome.exit}: {', '.join(numbers)}", _BOLD)
        if outcome.detail:
            self._line(outcome.detail, _RED if outcome.exit != "finished" else "")

    def _end_stream(self) -> None:
        if self._streaming:
            self._streaming = None
            self._line("")

    def _line(self, text: str, style: str = "") -> None:
        self._write(f"{text}\n", style)

    def _write(self, text: str, style: str = "") -> None:
        self._out.write(f"{style}{text}{_RESET}" if style and text and self._colour else text)
        self._out.flush()


class JsonView:
    """A listener that prints one event a line: the same lines as the recorded trajectory."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout

    def event(self, event: Event) -> None:
        """Print it."""
        self._out.write(event.model_dump_json() + "\n")
        self._out.flush()

    def delta(self, kind: DeltaKind, text: str) -> None:
        """Leave pieces out: the event that follows holds the whole."""

    def output(self, data: bytes) -> None:
        """Leave pieces out: the event that follows holds the result."""


def _shown_arguments(arguments: str) -> str:
    try:
        values: Any = json.loads(arguments)
    except ValueError:
        return clean(arguments[:_SHOWN_ARGUMENT])
    if isinstance(values, dict):
        parts = [f"{name}={value}" for name, value in cast("dict[str, Any]", values).items()]
        command = cast("dict[str, Any]", values).get("command")
        text = str(command) if len(parts) == 1 and command else " ".join(parts)
    else:
        text = arguments
    return clean(text if len(text) <= _SHOWN_ARGUMENT else f"{text[:_SHOWN_ARGUMENT]} …")


def _count(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


async def ask_person(name: str, arguments: str) -> Decision:
    """Ask at the terminal whether a call may run: yes, or no with a word for the model."""
    prompt = f"Run {name}  {_shown_arguments(arguments)}\n[y]es, or no with what to do instead: "
    answer = (await asyncio.to_thread(input, prompt)).strip()
    if answer.lower() in ("y", "yes"):
        return Decision(allowed=True)
    return Decision(allowed=False, reason=f"Denied by the user. {answer}".strip())
