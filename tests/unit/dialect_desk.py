"""What the tests of the dialects share: a conversation of five turns, played through the product against a server.

The server is a conformance server, whose behaviour comes from fixtures of its own; the product is a backend made from
a dialect, which need not be the one that comes along. The checks themselves are in `dialect_checks`.
"""

from collections.abc import AsyncGenerator, Generator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from conformance.behaviour import ServerBehaviour, load_behaviour
from conformance.exchange import Exchange
from conformance.responder import Call, Reply
from conformance.server import ConformanceServer, conformance_server

from agent.backend import BackendError
from agent.chat_backend import ChatBackend, RetryPolicy
from agent.conversation import Conversation
from agent.dialects.dialect import Dialect
from agent.recovery import split_inline_thinking
from agent.request import request_head, wire_fields
from agent.turn import AssistantTurn, SentTurn, sent_turn
from agent.waits import Waits
from results.records.events import BackendDescription

KEY = "sk-test-0123456789"
ONCE = RetryPolicy(attempts=1)

SYSTEM = "You work in a repository and use the tools that you have been given."
LONG_SYSTEM = " ".join([SYSTEM, *(f"Rule {number}: read before you write, and test after it." for number in range(90))])
"""More than the 1,024 tokens under which some services cache nothing."""

TASK = "Mend slugify() in slugify.py: it drops the letters of other languages."
FOLLOW_UP = "Good. Now add a test for it, with <angle brackets> and ümläuts."

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {part: {"type": "string"} for part in parts},
                "required": list(parts),
            },
        },
    }
    for name, description, parts in (
        ("read_file", "Read a file.", ("path",)),
        ("write_file", "Write a file.", ("path", "text")),
    )
]

SCRIPT = (
    Reply(
        "The function and its tests belong together, so both files have to be read.",
        "Let me read both.",
        (Call("read_file", {"path": "slugify.py"}), Call("read_file", {"path": "tests/test_slugify.py"})),
    ),
    Reply(
        "Its pattern keeps ASCII alone: it has to be one that knows words.",
        "",
        (Call("write_file", {"path": "slugify.py", "text": "import re\n\nprint(re)"}),),
    ),
    Reply("The tests pass now, which is all that was asked for.", "slugify() keeps every letter now."),
    Reply("", "I add it.", (Call("write_file", {"path": "tests/näh.py", "text": 'assert "<ü>" != "<\\"🙂\\">"'}),)),
    Reply("One sentence will do for an answer.", "The test is there."),
)
"""Five turns: two calls at once; a call without text; an answer; behind the next user message a call without thinking,
of characters that are easily lost; an answer."""

RESULTS = (
    ("exit=0\ndef slugify(text): ...", "exit=0\n1 passed"),
    ("exit=0\nwritten",),
    (),
    ("exit=0\nwritten: <ü> 🙂",),
    (),
)


@dataclass(frozen=True)
class Asked:
    """How a conversation is asked for."""

    thinking: bool = True
    preserve: bool = True
    stream: bool = True
    sampling: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Played:
    """One turn as the product received it, as it goes back, and what the server knows of it."""

    turn: AssistantTurn
    sent: SentTurn
    exchange: Exchange


class Servers:
    """Servers that stay open as long as they are needed, one for each behaviour."""

    def __init__(self) -> None:
        self._open: dict[str, ConformanceServer] = {}
        self._stack = ExitStack()

    def serving(self, behaviour: ServerBehaviour) -> ConformanceServer:
        """A server of that behaviour, which has forgotten everything."""
        key = behaviour.model_dump_json()
        if key not in self._open:
            self._open[key] = self._stack.enter_context(conformance_server(behaviour))
        server = self._open[key]
        server.forget()
        server.set_faults()
        server.set_script()
        return server

    def close(self) -> None:
        """Close all of them."""
        self._stack.close()


@contextmanager
def open_servers() -> Generator[Servers]:
    servers = Servers()
    try:
        yield servers
    finally:
        servers.close()


def description_of(
    server: ConformanceServer, dialect: Dialect, asked: Asked, vision: bool | None = None
) -> BackendDescription:
    fields, unsent = wire_fields(dialect, asked.sampling, thinking=asked.thinking, preserve=asked.preserve)
    return BackendDescription(
        base_url=server.url,
        model=server.behaviour.model,
        dialect=dialect.name,
        sampling=fields,
        unsent=unsent,
        vision=vision,
    )


@asynccontextmanager
async def backend_for(
    server: ConformanceServer, dialect: Dialect, asked: Asked = Asked(), retry: RetryPolicy = ONCE
) -> AsyncGenerator[ChatBackend]:
    """The product's backend; what it fails with is a failed check."""
    description = description_of(server, dialect, asked)
    backend = ChatBackend(description, KEY, waits=Waits.of_silence(30), retry=retry, dialect=dialect)
    try:
        yield backend
    except BackendError as failure:
        message = f"{type(failure).__name__}: {failure}"
        raise AssertionError(message) from failure
    finally:
        await backend.close()


async def play(
    server: ConformanceServer, dialect: Dialect, asked: Asked = Asked(), system: str = LONG_SYSTEM
) -> list[Played]:
    """The conversation of `SCRIPT`, all of it."""
    return [played async for played in turns(server, dialect, asked, system)]


async def turns(
    server: ConformanceServer, dialect: Dialect, asked: Asked, system: str = LONG_SYSTEM
) -> AsyncGenerator[Played]:
    """Its turns, one after the other: each is received, and goes back, as the loop does it."""
    server.set_script(*SCRIPT)
    async with backend_for(server, dialect, asked) as backend:
        conversation = Conversation(request_head(backend.description, stream=asked.stream), TOOLS)
        conversation.append({"role": "system", "content": system})
        conversation.append({"role": "user", "content": TASK})
        for step, results in enumerate(RESULTS, 1):
            turn = split_inline_thinking(await backend.complete(conversation))[0]
            sent = sent_turn(turn, step, dialect)
            yield Played(turn, sent, server.last)
            for message in (sent.message, *following(sent, results)):
                conversation.append(message)


def following(sent: SentTurn, results: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """What is appended behind a turn: the results of its calls, or the next user message."""
    assert len(sent.calls) == len(results), f"{len(sent.calls)} calls came, not {len(results)}"
    if not results:
        yield {"role": "user", "content": FOLLOW_UP}
    for call, result in zip(sent.calls, results, strict=True):
        yield {"role": "tool", "tool_call_id": call.id, "content": result}


def contrary(behaviour: ServerBehaviour, asked: Asked) -> ServerBehaviour:
    """The same family with the defaults that are not asked for, so that what is not said is not done.

    Not where the default is the only thing that there is, or the value that asks for it (`null`).
    """
    if behaviour.thinking.switches:
        behaviour = behaviour.changed("thinking", default=not asked.thinking)
    switches = behaviour.preserve.switches
    if switches and (asked.preserve or None not in switches[0].means_off):
        behaviour = behaviour.changed("preserve", default=not asked.preserve)
    return behaviour


def behaviour_for(dialect: str) -> ServerBehaviour:
    """The fixture that a dialect is tested on: oMLX is served like MLX, as far as fixtures go."""
    return load_behaviour("mlx" if dialect == "omlx" else dialect)
