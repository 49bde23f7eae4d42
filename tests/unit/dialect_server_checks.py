"""What a dialect promises of a server beside the conversation itself: its limits, pictures, sampling, errors.

As in `dialect_checks`, what is expected comes from the server's fixture and journal; a check that does not hold is an
AssertionError.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from conformance.behaviour import ServerBehaviour, load_behaviour
from conformance.faults import ActiveFault, Fault
from conformance.responder import Reply
from conformance.server import ConformanceServer
from dialect_desk import KEY, ONCE, SYSTEM, TASK, TOOLS, Asked, backend_for, description_of, play
from dialect_sampling import ALL, SEEDED, TAKEN, WITHOUT_TEMPLATE_FIELDS

from agent.backend import Backend, BackendError, ContextExhaustedError
from agent.chat_backend import ChatBackend, RetryPolicy
from agent.conversation import Conversation
from agent.dialects.dialect import Dialect
from agent.pictures import Places, following_message, places_for, result_content, user_content
from agent.prefix.renderers import RendererError
from agent.prefix.servers import open_server_renderer
from agent.request import request_head
from agent.waits import Waits
from evals.seeds import SeededBackend
from tools.pictures import Picture

Check = Callable[[ConformanceServer, Dialect], Awaitable[None]]

SMALL_WINDOW = 1_000
TWICE = RetryPolicy(attempts=2, first_wait=0.001)
RED_DOT = Picture("image/png", b"\x89PNG\r\n\x1a\nno more than that", 1, 1)

PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529}
"""Statuses behind which another try may succeed: RFC 9110, 6585 and 8470; Cloudflare's own for a server that it cannot
reach (developers.cloudflare.com, error 5xx); 529 is "overloaded" of several services."""

NEVER_PASSING = {"transformers-serve": {500}}
"""transformers serve says 500, and nothing else, of a request that its template refuses (observed)."""


# -- limits


def too_small(behaviour: ServerBehaviour) -> ServerBehaviour:
    """The family with a window that is soon full."""
    return behaviour.changed("context", window=SMALL_WINDOW)


async def check_overflow(server: ConformanceServer, dialect: Dialect) -> None:
    """A prompt that is too long is recognised, or the dialect knows that it is taken in silence."""
    form = server.behaviour.context.overflow
    failure = await _failure(server, dialect, 2 * SMALL_WINDOW)
    assert isinstance(failure, ContextExhaustedError) == (form == "refused"), failure
    family = load_behaviour(server.behaviour.family)
    assert dialect.overflow.silent == (family.context.overflow != "refused")
    if server.behaviour.output.refused_beyond_window:
        failure = await _failure(server, dialect, SMALL_WINDOW // 4, max_output=SMALL_WINDOW)
        assert isinstance(failure, ContextExhaustedError), failure


async def check_sizes_of_overflow(server: ConformanceServer, dialect: Dialect) -> None:
    """What the refusal says of the window and of the prompt is read."""
    failure = await _failure(server, dialect, 2 * SMALL_WINDOW)
    assert isinstance(failure, ContextExhaustedError)
    said = stated_sizes(server)
    assert failure.context_window == said.get("window")
    assert failure.prompt_tokens == said.get("prompt_tokens")


def stated_sizes(server: ConformanceServer) -> dict[str, int]:
    """The sizes in the last refusal, found by the form that the fixture has for it."""
    form = json.dumps(server.behaviour.errors.overflow.body, ensure_ascii=False)
    pattern = re.sub(r'"?\\\{(\w+)\\\}"?', r"(?P<\1>\\d+)", _with_each_once(re.escape(form)))
    found = re.fullmatch(pattern, json.dumps(server.last.response, ensure_ascii=False))
    assert found, pattern
    return {name: int(size) for name, size in found.groupdict().items()}


def _with_each_once(pattern: str) -> str:
    """A placeholder that stands there again becomes any number."""
    seen: set[str] = set()

    def first(match: re.Match[str]) -> str:
        again = match[1] in seen
        seen.add(match[1])
        return r"\d+" if again else match[0]

    return re.sub(r'"?\\\{(\w+)\\\}"?', first, pattern)


async def check_output_cap(server: ConformanceServer, dialect: Dialect) -> None:
    """The limit on a response is honoured; and the dialect knows of a small limit that nobody asked for."""
    long = Reply("", " word" * 2_000)
    server.set_script(long)
    async with backend_for(server, dialect, Asked(thinking=False, sampling={"max_output": 40})) as backend:
        turn = await backend.complete(_conversation(backend))
    assert (turn.finish_reason, turn.usage.output_tokens) == ("length", 40)
    default = server.behaviour.output.default
    assert dialect.output.default in (None, default)
    if default is not None and default < 4_096:
        assert dialect.output.default == default


# -- counting and rendering


async def check_counting(server: ConformanceServer, dialect: Dialect) -> None:
    """The prompt is counted before it is sent where the family can do that, with thinking and without."""
    kinds = {endpoint.answer for endpoint in server.behaviour.endpoints}
    for asked in (Asked(), Asked(preserve=False), Asked(thinking=False)):
        server.forget()
        played = await play(server, dialect, asked)
        async with backend_for(server, dialect, asked) as backend:
            counted = await backend.count(_again(server))
        expected = played[-1].exchange.prompt_tokens if kinds & {"input_tokens", "tokenize_chat"} else None
        assert counted == expected


async def check_rendering(server: ConformanceServer, dialect: Dialect) -> None:
    """The rendered prompt is shown where the family can do that."""
    answers = {endpoint.path: endpoint.answer for endpoint in server.behaviour.endpoints}
    shows = "apply-template" if "/apply-template" in answers else "tokenize" if "/detokenize" in answers else None
    assert dialect.rendering == shows
    if shows is None:
        return
    await play(server, dialect)
    body = server.last.body
    try:
        async with open_server_renderer(server.url, kind=dialect.rendering, model=server.behaviour.model) as renderer:
            text = await renderer.render(body["messages"], TOOLS, body["chat_template_kwargs"], open_turn=True)
    except RendererError as error:
        raise AssertionError(str(error)) from error
    assert text == server.last.prompt_text


# -- pictures


def seeing(behaviour: ServerBehaviour) -> ServerBehaviour:
    """The family with a model that has vision."""
    return behaviour.changed("images", vision=True)


async def check_pictures(server: ConformanceServer, dialect: Dialect) -> None:
    """Pictures of a person and of a tool stand where they are seen, or the dialect says that they cannot."""
    rules = server.behaviour.images
    async with backend_for(server, dialect) as backend:
        places = places_for(backend)
        assert places.user == rules.user
        if places.user:
            conversation = _conversation(backend)
            conversation.append({"role": "user", "content": user_content("Look at it.", [RED_DOT], places)})
            await backend.complete(conversation)
            assert len(_images(server)) == 1
        costs_nothing = rules.user and server.behaviour.preserve.mode != "never"
        unknown = dialect.thinking.preserves == "unknown"  # nobody knows what a user message would cost
        assert (places.problem is None) == (rules.tool or (costs_nothing and not unknown))
        if places.problem is None:
            server.forget()
            conversation = _conversation(backend)
            for message in _shown_by_a_tool(server.behaviour, places):
                conversation.append(message)
            await backend.complete(conversation)
            assert len(_images(server)) == 1
            assert (server.last.body["messages"][-1]["role"] == "tool") == rules.tool


def _shown_by_a_tool(behaviour: ServerBehaviour, places: Places) -> list[dict[str, Any]]:
    call = {"id": "c1", "type": "function", "function": {"name": "read_file", "arguments": '{"path": "a.png"}'}}
    calling = {"role": "assistant", "content": "", "tool_calls": [call], **_thought(behaviour, call)}
    result = {"role": "tool", "tool_call_id": "c1", "content": result_content("a.png", [RED_DOT], places)}
    shown = following_message([RED_DOT], places)
    return [calling, result, *([shown] if shown else [])]


# -- sampling and failures


async def check_sampling(server: ConformanceServer, dialect: Dialect) -> None:
    """Every parameter that the family takes is sent, spelled as it wants it, and the others are said to be unsent."""
    taken, while_thinking = TAKEN[server.behaviour.family]
    template = {"chat_template_kwargs": {"add_vision_id": True}}
    unsent = description_of(server, dialect, Asked(sampling=template)).unsent
    assert unsent == (list(template) if server.behaviour.family in WITHOUT_TEMPLATE_FIELDS else [])
    for asked, names in ((True, while_thinking), (False, taken)):
        description = description_of(server, dialect, Asked(thinking=asked, sampling=ALL))
        sent = {name: description.sampling[name] for name in names.values() if name in description.sampling}
        assert sent == {wire: ALL[name] for name, wire in names.items()}
        assert set(description.unsent) == set(ALL) - set(names)
        async with backend_for(server, dialect, Asked(thinking=asked, sampling=ALL)) as backend:
            await backend.complete(_conversation(backend))
        assert not (set(server.last.body) & set(ALL)) - set(names.values())
    assert (dialect.sampling.seed is not None) == (server.behaviour.family in SEEDED)
    if dialect.sampling.seed is not None:
        async with backend_for(server, dialect, Asked()) as backend:
            await backend.complete(_conversation(SeededBackend(backend, 7)))
        assert server.last.body.get("seed") == 7


async def check_passing(server: ConformanceServer, dialect: Dialect) -> None:
    """A failure that may pass is tried again, any other is not."""
    description = description_of(server, dialect, Asked())
    backend = ChatBackend(description, KEY, waits=Waits.of_silence(30), retry=TWICE, dialect=dialect)
    try:
        for status in sorted(PASSING | {400, 401, 403, 404, 422}):
            server.forget()
            server.set_faults(ActiveFault(kind=Fault.HTTP_ERROR, status=status, times=1))
            failure = await _outcome(backend, _conversation(backend))
            passes = status in PASSING - NEVER_PASSING.get(server.behaviour.family, set())
            assert (failure is None, len(server.journal)) == (passes, 2 if passes else 1), f"{status}: {failure}"
    finally:
        await backend.close()


async def check_hopeless(server: ConformanceServer, dialect: Dialect) -> None:
    """A request that will never do is sent once, whatever the status of the refusal."""
    for wrong in _wrong_requests(server.behaviour):
        server.forget()
        failure = await _failure(server, dialect, 10, *wrong, retry=TWICE)
        assert isinstance(failure, BackendError)
        assert len(server.journal) == 1, failure


def _wrong_requests(behaviour: ServerBehaviour) -> list[list[dict[str, Any]]]:
    """Messages that the family refuses, each for another reason."""
    wrong: list[list[dict[str, Any]]] = []
    call = {"id": "c1", "type": "function", "function": {"name": "read_file", "arguments": "{"}}
    broken = {"role": "assistant", "content": "", "tool_calls": [call], **_thought(behaviour, call)}
    if behaviour.history.bad_arguments == "refused":
        wrong.append([broken, {"role": "tool", "tool_call_id": "c1", "content": "x"}])
    if behaviour.history.single_system:
        wrong.append([{"role": "system", "content": "And again."}, {"role": "user", "content": "x"}])
    if not behaviour.images.vision and behaviour.images.user:
        wrong.append([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": RED_DOT.url}}]}])
    return wrong


async def _failure(
    server: ConformanceServer,
    dialect: Dialect,
    words: int,
    *more: dict[str, Any],
    retry: RetryPolicy = ONCE,
    **sampling: Any,
) -> BackendError | None:
    """What comes of a prompt of that many words."""
    description = description_of(server, dialect, Asked(sampling=sampling))
    backend = ChatBackend(description, KEY, waits=Waits.of_silence(30), retry=retry, dialect=dialect)
    conversation = _conversation(backend, "word " * words)
    for message in more:
        conversation.append(message)
    try:
        return await _outcome(backend, conversation)
    finally:
        await backend.close()


async def _outcome(backend: ChatBackend, conversation: Conversation) -> BackendError | None:
    try:
        await backend.complete(conversation)
    except BackendError as failure:
        return failure
    return None


def _conversation(backend: Backend, text: str = TASK) -> Conversation:
    conversation = Conversation(request_head(backend.description), TOOLS)
    conversation.append({"role": "system", "content": SYSTEM})
    conversation.append({"role": "user", "content": text})
    return conversation


def _again(server: ConformanceServer) -> Conversation:
    """The last request as a conversation."""
    body = dict(server.last.body)
    messages, tools = body.pop("messages"), body.pop("tools")
    conversation = Conversation(body, tools)
    for message in messages:
        conversation.append(message)
    return conversation


def _images(server: ConformanceServer) -> Mapping[str, bytes]:
    request = server.last.request
    assert request is not None
    return request.images


def _thought(behaviour: ServerBehaviour, call: dict[str, Any]) -> dict[str, Any]:
    """What has to stand beside calls, where the family wants something there."""
    if behaviour.history.calls_need_signature:
        call["extra_content"] = {"google": {"thought_signature": "skip_thought_signature_validator"}}
    return {"reasoning_content": "Hm."} if behaviour.history.calls_need_reasoning != "never" else {}
