"""The wire: what a client computes for one request, early and late in a conversation.

Measured: the processor time of this process (user and system) from appending the last turn and its result to having
read the whole response, at the turns around 30 and around 300; the figure is the median. A server in a process of its
own answers over a real socket at once, as a stream of some dozen chunks. Every turn has thinking of some 300 tokens
(sent under both of its names) and a tool result of some 480: turn 310 still fits into a context of 262,144 tokens.

Ours is the agent's own path, `Conversation` and `ChatBackend`. The peer is what the openai SDK is made for, its typed
`client.chat.completions.create(messages=[…])`, with the same messages, tools and server, in the same run.

Not in it: a real server sends a chunk for each token, which takes as long at turn 300 as at turn 30; what one costs
is told as a figure of its own.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from benchmarks.measurement import Measurement, Options
from benchmarks.stream_server import COMMAND, THINKING, serve_streams

if TYPE_CHECKING:
    from agent.chat_backend import ChatBackend
    from agent.conversation import Conversation

EARLY = (25, 35)
LATE = (290, 310)
PIECES = 8
MANY_PIECES = 400
CHUNK_SAMPLES = 11
TARGET_MILLISECONDS = 3.5

_OUTPUT = "tests/test_parser.py::test_empty_line FAILED in case {number}, where the parser gives an empty list\n"
_LINES = 22

Message = dict[str, Any]
Client = Callable[[list[Message]], Awaitable[None]]
"""Takes the two messages that are new, sends the conversation, and reads the response to its end."""


@dataclass(frozen=True)
class _Figures:
    early: float
    """Milliseconds, as `late`."""
    late: float

    @property
    def growth(self) -> float:
        return self.late / self.early


def run(options: Options) -> list[Measurement]:
    """Measure our path, then the SDK's own."""
    with serve_streams() as root:
        return asyncio.run(_measure(root, with_peer=options.with_peer))


async def _measure(root: str, *, with_peer: bool) -> list[Measurement]:
    ours, size = await _ours(root)
    theirs, name = await _theirs(root) if with_peer else (None, None)
    early = Measurement("client CPU of a request, turn 30", ours.early, "ms", None, name, theirs and theirs.early)
    late = Measurement(
        "client CPU of a request, turn 300", ours.late, "ms", TARGET_MILLISECONDS, name, theirs and theirs.late
    )
    growth = Measurement("turn 300 / turn 30", ours.growth, "×", None, name, theirs and theirs.growth)
    body = Measurement("request body, turn 300", size / 1e6, "MB")
    return [early, late, growth, body, Measurement("client CPU of a streamed chunk", await _chunk(root) * 1e6, "µs")]


async def _ours(root: str) -> tuple[_Figures, int]:
    """Our figures, and the size of the last body in bytes."""
    async with _own_client(root, PIECES) as (backend, conversation):

        def append(new: list[Message]) -> None:
            for message in new:
                conversation.append(message)

        async def send(new: list[Message]) -> None:
            append(new)
            await backend.complete(conversation)

        append(_opening())
        return await _time_turns(append, send), conversation.request_bytes


@asynccontextmanager
async def _own_client(root: str, pieces: int) -> "AsyncGenerator[tuple[ChatBackend, Conversation]]":
    from agent.chat_backend import ChatBackend
    from agent.conversation import Conversation
    from agent.request import request_head
    from results.records.events import BackendDescription

    description = BackendDescription(
        base_url=f"{root}/{pieces}/v1", model="benchmark", dialect="generic", sampling=_sampling()
    )
    backend = ChatBackend(description)
    try:
        yield backend, Conversation(request_head(description), _tools())
    finally:
        await backend.close()


async def _theirs(root: str) -> tuple[_Figures, str]:
    """The figures of the SDK's typed path, and its name."""
    import openai

    messages = _opening()
    client = openai.AsyncOpenAI(base_url=f"{root}/{PIECES}/v1", api_key="none", max_retries=0)

    async def send(new: list[Message]) -> None:
        messages.extend(new)
        stream = await client.chat.completions.create(
            model="benchmark",
            messages=cast("Any", messages),
            tools=cast("Any", _tools()),
            stream=True,
            stream_options={"include_usage": True},
            extra_body=_sampling(),
        )
        await _read(stream)

    async with client:
        figures = await _time_turns(messages.extend, send)
    return figures, f"openai SDK {openai.__version__}, messages=[…]"


async def _read(stream: AsyncIterable[object]) -> None:
    async for _ in stream:
        pass


async def _time_turns(append: Callable[[list[Message]], None], send: Client) -> _Figures:
    """Grow a conversation; only the turns that count are sent."""
    taken: dict[int, float] = {}
    for turn in range(1, LATE[1] + 1):
        new = _turn(turn)
        if not (EARLY[0] <= turn <= EARLY[1] or LATE[0] <= turn <= LATE[1]):
            append(new)
            continue
        if turn in (EARLY[0], LATE[0]):
            await send([])  # what is paid once: imports, the connection
        started = time.process_time()
        await send(new)
        taken[turn] = time.process_time() - started
    windows = [[taken[turn] for turn in range(first, last + 1)] for first, last in (EARLY, LATE)]
    early, late = (statistics.median(window) * 1000 for window in windows)
    return _Figures(early, late)


async def _chunk(root: str) -> float:
    """Seconds for a chunk, of a response that comes in as many as a real server sends."""

    async def response(pieces: int) -> float:
        async with _own_client(root, pieces) as (backend, conversation):
            conversation.append(_opening()[1])
            samples: list[float] = []
            for _ in range(CHUNK_SAMPLES):
                started = time.process_time()
                await backend.complete(conversation)
                samples.append(time.process_time() - started)
        return statistics.median(samples)

    return (await response(MANY_PIECES) - await response(1)) / (MANY_PIECES - 1)


def _sampling() -> dict[str, Any]:
    return {"chat_template_kwargs": {"enable_thinking": True, "preserve_thinking": True}}


def _tools() -> list[dict[str, Any]]:
    from tools.tool import definition
    from tools.toolset import make_toolset

    return [definition(tool) for tool in make_toolset("bash+editor")]


def _opening() -> list[Message]:
    return [
        {"role": "system", "content": "You work on a repository, with a shell and an editor. " * 20},
        {"role": "user", "content": "Mend the parser, which skips empty lines. " * 20},
    ]


def _turn(number: int) -> list[Message]:
    """A turn of the model and the result of its call, as they go back."""
    thinking = f"Turn {number}. {THINKING}"
    function = {"name": "bash", "arguments": COMMAND}
    call = {"id": f"call_{number}", "type": "function", "function": function}
    return [
        {
            "role": "assistant",
            "content": "Let me look.",
            "reasoning_content": thinking,
            "reasoning": thinking,
            "tool_calls": [call],
        },
        {"role": "tool", "tool_call_id": call["id"], "content": _OUTPUT.format(number=number) * _LINES},
    ]
