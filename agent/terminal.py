"""Shows on a terminal what an agent thinks, says and does, as it happens, and asks a person there.

Whatever comes from a model or a program is made visible first: none of it reaches the terminal as a command.
"""

import asyncio
import contextlib
import json
import os
import re
import sys
from typing import Any, BinaryIO, TextIO, cast

from agent.approval import Decision
from agent.backend import DeltaKind
from results.json_lines import encode_line
from results.records.events import (
    EndEvent,
    Event,
    NoticeEvent,
    PatchEvent,
    ResponseEvent,
    RetryEvent,
    SegmentEvent,
    StartEvent,
    ToolResultEvent,
)
from results.steps import message_text
from results.visible_text import visible

_DIM, _BOLD, _RED, _GREEN, _CYAN, _RESET = "\x1b[2m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[36m", "\x1b[0m"
_SHOWN_LINES = 12
_SHOWN_LINE = 500
_SHOWN_ARGUMENT = 400
_SHOWN_PATCH_LINES = 2_000


class TerminalView:
    """A listener that writes to `out`, in colour where `out` is a terminal and NO_COLOR is not set.

    When nobody reads `out` any more, it falls silent and the work goes on.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._colour = self._out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._streaming: DeltaKind | None = None
        self._gone = False
        if reconfigure := getattr(self._out, "reconfigure", None):
            reconfigure(errors="replace")

    def delta(self, kind: DeltaKind, text: str) -> None:
        """Show thinking and speech as they stream in; calls are shown when they are whole."""
        if kind == "tool_call" or not text:
            return
        if kind != self._streaming:
            self._end_stream()
            self._write("thinking  " if kind == "reasoning" else "", _DIM)
            self._streaming = kind
        self._write(visible(text), _DIM if kind == "reasoning" else "")

    def output(self, data: bytes) -> None:
        """Leave output to the result, which is cut to what a person can read."""

    def event(self, event: Event) -> None:
        """Show what happened."""
        self._end_stream()
        match event:
            case StartEvent():
                self._start(event)
            case ResponseEvent():
                if event.discarded:
                    self._line("(no part of the conversation)", _DIM)
                for call in event.received.tool_calls:
                    self._line(f"{visible(call.name)}  {_shown_arguments(call.arguments, _SHOWN_ARGUMENT)}", _CYAN)
            case ToolResultEvent():
                self._result(event)
            case RetryEvent():
                self._line(f"trying again in {event.wait_seconds:.1f} s: {visible(event.reason)}", _RED)
            case SegmentEvent():
                self._line(f"the context is full: {event.dropped} messages are left behind, {event.kept} kept", _BOLD)
            case NoticeEvent():
                self._line(f"{event.kind.replace('_', ' ')}: {visible(event.text)}", _RED)
            case PatchEvent():
                self._patch(event.patch)
            case EndEvent():
                self._end(event)
            case _:
                pass

    def _start(self, event: StartEvent) -> None:
        if event.backend:
            scripted = "  (scripted: replies come from a file, not from a model)" if event.backend.scripted else ""
            self._line(f"{visible(event.backend.model)} at {event.backend.base_url}{scripted}", _BOLD)
        self._line(f"{visible(event.sandbox)}  {visible(event.directory)}  tools: {event.toolset}", _DIM)

    def _result(self, event: ToolResultEvent) -> None:
        lines = visible(message_text(event.sent)).split("\n")
        for line in lines[:_SHOWN_LINES]:
            shown = line if len(line) <= _SHOWN_LINE else f"{line[:_SHOWN_LINE]} …"
            self._line(f"  {shown}", _RED if event.is_error or event.denied else _DIM)
        if len(lines) > _SHOWN_LINES:
            self._line(f"  … {len(lines) - _SHOWN_LINES} more lines", _DIM)

    def _patch(self, patch: str) -> None:
        self._line("")
        lines = visible(patch).removesuffix("\n").split("\n") if patch else ["no file was changed"]
        for line in lines[:_SHOWN_PATCH_LINES]:
            colour = {"+": _GREEN, "-": _RED, "@": _CYAN}.get(line[:1], "")
            self._line(line, _BOLD if line.startswith(("+++", "---", "diff ")) else colour)
        if len(lines) > _SHOWN_PATCH_LINES:
            self._line(f"… {len(lines) - _SHOWN_PATCH_LINES:,} more lines, all of them in patch.diff", _DIM)

    def _end(self, event: EndEvent) -> None:
        outcome = event.outcome
        usage = outcome.usage
        numbers = [f"{outcome.steps} step{'s' * (outcome.steps != 1)}", f"{outcome.time.total:.1f} s"]
        if usage.prompt_tokens is not None:
            cached = "" if usage.cached_tokens is None else f" ({usage.cached_tokens:,} cached)"
            numbers.append(f"{usage.prompt_tokens:,} prompt tokens{cached}")
        if usage.output_tokens is not None:
            numbers.append(f"{usage.output_tokens:,} output tokens")
        numbers += [] if outcome.cost is None else [f"${outcome.cost:.4f}"]
        self._line("")
        self._line(f"{outcome.exit}: {', '.join(numbers)}", _BOLD)

    def _end_stream(self) -> None:
        if self._streaming:
            self._streaming = None
            self._line("")

    def _line(self, text: str, style: str = "") -> None:
        self._write(f"{text}\n", style)

    def _write(self, text: str, style: str = "") -> None:
        if self._gone:
            return
        try:
            self._out.write(f"{style}{text}{_RESET}" if style and text and self._colour else text)
            self._out.flush()
        except OSError:
            self._gone = True
            _let_go(self._out)


class JsonView:
    """A listener that prints one event a line: the same bytes as in the recorded trajectory."""

    def __init__(self, out: BinaryIO | None = None) -> None:
        self._out = out or sys.stdout.buffer
        self._gone = False

    def event(self, event: Event) -> None:
        """Print it; when nobody reads any more, the work goes on in silence."""
        if self._gone:
            return
        try:
            self._out.write(encode_line(event))
            self._out.flush()
        except OSError:
            self._gone = True
            _let_go(self._out)

    def delta(self, kind: DeltaKind, text: str) -> None:
        """Leave pieces out: the event that follows holds the whole."""

    def output(self, data: bytes) -> None:
        """Leave pieces out: the event that follows holds the result."""


async def ask_person(name: str, arguments: str) -> Decision:
    """Ask at the terminal whether a call may run: yes, or no with a word for the model.

    The whole call is shown: nobody can agree to what they have not seen.
    """
    _drop_what_was_typed_before()
    question = f"Run {visible(name)}  {_shown_arguments(arguments)}\n[y]es, or no with what to do instead: "
    print(question, end="", file=sys.stderr, flush=True)
    answer = await _read_line(sys.stdin.fileno())
    if answer is None:
        return Decision(allowed=False, reason="Denied: the terminal was closed.", final=True)
    return _read_answer(answer)


def _read_answer(answer: str) -> Decision:
    answer = answer.strip()
    if answer.lower() in ("y", "yes"):
        return Decision(allowed=True)
    # "no" on its own, or set apart from what follows; "no tests please" is a sentence.
    reason = re.sub(r"^(?:n\b|no(?=\s*(?:$|[,;:.])))[\s,;:.]*", "", answer, flags=re.IGNORECASE)
    return Decision(allowed=False, reason=f"Denied by the user. {reason}".strip())


async def _read_line(descriptor: int) -> str | None:
    """The next line of a terminal, without a thread that would outlive an interrupt; None at its end."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, lambda: readable.done() or readable.set_result(None))
    try:
        await readable
    finally:
        loop.remove_reader(descriptor)
    try:
        data = os.read(descriptor, 65536)
    except OSError:  # the terminal was hung up
        return None
    return data.decode("utf-8", "replace") if data else None


def _drop_what_was_typed_before() -> None:
    """Forget keys that were hit before the question was there to be read."""
    import termios

    with contextlib.suppress(termios.error, OSError, ValueError):
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


def _shown_arguments(arguments: str, limit: int | None = None) -> str:
    try:
        values: Any = json.loads(arguments, strict=False)
    except ValueError:
        values = None
    text = arguments
    if isinstance(values, dict):
        named = cast("dict[str, Any]", values)
        command = named.get("command")
        only_command = len(named) == 1 and command is not None
        text = str(command) if only_command else " ".join(f"{name}={value}" for name, value in named.items())
    if limit is not None and len(text) > limit:
        text = f"{text[:limit]} … {len(text) - limit} characters more"
    return visible(text)


def _let_go(out: TextIO | BinaryIO) -> None:
    """Point what nobody reads at nothing, so that Python does not fail once more over it at its exit."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, out.fileno())
        os.close(nothing)
