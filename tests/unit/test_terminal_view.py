"""What a person sees, and what a terminal must never be told by a model or a program."""

import io
import os
import pty

import pytest

from agent.approval import Decision
from agent.backend import DeltaKind
from agent.redaction import REDACTED, Redacting
from agent.terminal import JsonView, TerminalView, ask_person
from results.records.events import (
    BackendDescription,
    EndEvent,
    Event,
    PatchEvent,
    Received,
    ResponseEvent,
    RetryEvent,
    StartEvent,
    ToolCallRecord,
    ToolResultEvent,
)
from results.records.outcome import Outcome
from results.records.usage import Usage

EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\x07\b\r\x7f\u202egnp.exe\ud800"
"""Title, clear the screen, red in one byte, ring, back, to the line's start, delete, turn around, half a pair."""


def start(model: str = "m", directory: str = "/repository") -> StartEvent:
    backend = BackendDescription(base_url="http://host/v1", model=model, dialect="generic", scripted=True)
    return StartEvent(
        time=0, agent="default", backend=backend, toolset="bash", tools=[], directory=directory, sandbox="local"
    )


def response(name: str, arguments: str) -> ResponseEvent:
    call = ToolCallRecord(id="1", name=name, arguments=arguments)
    return ResponseEvent(time=0, step=1, received=Received(tool_calls=[call]), usage=Usage(), seconds=0)


def result(text: str) -> ToolResultEvent:
    return ToolResultEvent(time=0, step=1, name="bash", sent={"role": "tool", "content": text}, seconds=0)


def patch(text: str) -> PatchEvent:
    return PatchEvent(time=0, patch=text, sha256="")


def shown(*events: Event) -> str:
    out = io.StringIO()
    view = TerminalView(out)
    for event in events:
        view.event(event)
    return out.getvalue()


@pytest.mark.parametrize(
    "event",
    [
        start(model=EVIL),
        start(directory=EVIL),
        response(EVIL, "{}"),
        response("bash", EVIL),
        response("bash", '{"command": "\\u001b[2J\\u202e"}'),
        result(EVIL),
        patch(f"+{EVIL}"),
        RetryEvent(time=0, step=1, reason=EVIL, wait_seconds=1),
    ],
    ids=["model", "directory", "tool", "arguments", "escaped arguments", "result", "patch", "retry"],
)
def test_nothing_reaches_the_terminal_as_a_command(event: Event):
    assert not set(shown(event)) & set(EVIL) - set("title;[]02J31mgnp.exe")


def test_sequence_that_streams_in_pieces_is_no_sequence():
    out = io.StringIO()
    view = TerminalView(out)
    for piece in ("\x1b", "[2J", "\x1b]0", ";x\x07", "\r", "\n"):
        view.delta("content", piece)
    assert not {"\x1b", "\x07", "\r"} & set(out.getvalue())


def test_wide_and_joined_letters_are_shown_as_they_are():
    text = "数据 👩‍💻 größe עברית\tend"
    out = io.StringIO()
    TerminalView(out).delta("content", text)
    assert out.getvalue() == text
    assert text in shown(result(text))


def test_thinking_text_and_calls_are_told_apart():
    out = io.StringIO()
    view = TerminalView(out)
    for kind, piece in (
        ("reasoning", "I mu"),
        ("reasoning", "st look."),
        ("content", "Looking."),
        ("tool_call", '{"c'),
    ):
        view.delta(kind, piece)  # type: ignore[arg-type]
    view.event(response("bash", '{"command": "ls -l"}'))
    view.event(result("exit=0 0.1s\nfile"))
    assert out.getvalue() == "thinking  I must look.\nLooking.\nbash  ls -l\n  exit=0 0.1s\n  file\n"


def test_long_things_are_cut_and_say_by_how_much():
    assert "9988 more lines" in shown(result("x\n" * 9999 + "x"))
    assert len(shown(result("x" * 10_000))) < 600
    assert "600 characters more" in shown(response("bash", f'{{"command": "{"x" * 1000}"}}'))
    assert "all of them in patch.diff" in shown(patch("+x\n" * 10_000))


def test_scripted_backend_says_so():
    assert "scripted: replies come from a file, not from a model" in shown(start())


def test_numbers_that_the_server_does_not_tell_are_left_out():
    outcome = Outcome(exit="finished", steps=1)
    assert shown(EndEvent(time=0, outcome=outcome)) == "\nfinished: 1 step, 0.0 s\n"


def test_no_change_is_said():
    assert "no file was changed" in shown(patch(""))


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colour_only_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        TerminalView(terminal).event(start())
        assert (b"\x1b[" in os.read(ours, 65536)) == (environment == {})
    os.close(ours)


@pytest.mark.parametrize("json", [True, False])
def test_reader_that_has_gone_does_not_end_the_work(json: bool):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb", buffering=0) as file:
        view = JsonView(file) if json else TerminalView(io.TextIOWrapper(file, write_through=True))
        for _ in range(3):
            view.event(start())


def test_terminal_that_cannot_show_a_letter_shows_another():
    buffer = io.BytesIO()
    view = TerminalView(io.TextIOWrapper(buffer, encoding="ascii"))
    view.event(result("größe"))
    assert buffer.getvalue() == b"  gr??e\n"


def test_json_view_survives_half_a_surrogate_pair():
    buffer = io.BytesIO()
    JsonView(buffer).event(result("half \ud83d"))
    assert b"\\ud83d" in buffer.getvalue()


# -- redaction


class _Kept:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.text: list[str] = []

    def event(self, event: Event) -> None:
        self.events.append(event)

    def delta(self, kind: DeltaKind, text: str) -> None:
        self.text.append(text)

    def output(self, data: bytes) -> None:
        self.text.append(data.decode())


def test_secrets_are_replaced_wherever_they_stand():
    kept = _Kept()
    secret = 'sk-"0\\1é2\n3'
    listener = Redacting(kept, {secret, "other-secret-1"})
    listener.event(result(f"before {secret} after"))
    listener.event(response("bash", f"x{secret}"))
    listener.delta("content", f"<{secret}>")
    listener.output(b"<other-secret-1>")
    assert isinstance(kept.events[0], ToolResultEvent)
    assert kept.events[0].sent["content"] == f"before {REDACTED} after"
    assert isinstance(kept.events[1], ResponseEvent)
    assert kept.events[1].received.tool_calls[0].arguments == f"x{REDACTED}"
    assert kept.text == [f"<{REDACTED}>"] * 2


# -- questions


async def answered(
    monkeypatch: pytest.MonkeyPatch, typed: bytes, arguments: str = '{"command": "ls"}', before: bytes = b""
) -> tuple[Decision, str]:
    """Ask at a real terminal where somebody types; returns the decision and what the question looked like."""
    ours, theirs = pty.openpty()
    asked = io.StringIO()
    os.write(ours, before)

    class Answering(io.StringIO):
        def write(self, text: str) -> int:
            os.write(ours, typed)
            return asked.write(text)

    with os.fdopen(theirs, "r") as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        monkeypatch.setattr("sys.stderr", Answering())
        try:
            return await ask_person("bash", arguments), asked.getvalue()
        finally:
            os.close(ours)


@pytest.mark.parametrize(
    ("typed", "allowed", "reason"),
    [
        ("y", True, ""),
        (" YES ", True, ""),
        ("", False, "Denied by the user."),
        ("n", False, "Denied by the user."),
        ("no", False, "Denied by the user."),
        ("no, use sed", False, "Denied by the user. use sed"),
        ("n use sed", False, "Denied by the user. use sed"),
        ("no tests please", False, "Denied by the user. no tests please"),
        ("nothing of the kind", False, "Denied by the user. nothing of the kind"),
        ("yes but only once", False, "Denied by the user. yes but only once"),
        ("größer", False, "Denied by the user. größer"),
    ],
)
async def test_answer_is_understood(monkeypatch: pytest.MonkeyPatch, typed: str, allowed: bool, reason: str):
    decision, _ = await answered(monkeypatch, f"{typed}\n".encode())
    assert (decision.allowed, decision.reason, decision.final) == (allowed, reason, False)


async def test_end_of_input_is_no_agreement(monkeypatch: pytest.MonkeyPatch):
    decision, _ = await answered(monkeypatch, b"\x04")
    assert (decision.allowed, decision.final) == (False, True)


async def test_whole_call_is_shown_and_nothing_hides_in_it(monkeypatch: pytest.MonkeyPatch):
    command = "echo " + "a" * 5000 + "; rm -rf ~\\r echo harmless\\u001b[8m"
    _, question = await answered(monkeypatch, b"n\n", f'{{"command": "{command}"}}')
    assert "; rm -rf ~" in question
    assert not {"\r", "\x1b"} & set(question)


async def test_what_was_typed_before_the_question_is_no_answer(monkeypatch: pytest.MonkeyPatch):
    decision, _ = await answered(monkeypatch, b"n\n", before=b"y\n")
    assert not decision.allowed
