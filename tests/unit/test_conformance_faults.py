"""What the conformance servers do when they are broken, and what they find lost of a prefix and why."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from conformance import ActiveFault, Call, Cause, Fault, Reply, conformance_server, fault
from conformance.desk import TOOLS, Desk, Json, client, events, result, sent_back, usage_of, user

CALLING = "Call the tool read_file with path=a.txt"
BOTH = 'Call the tools read_file and list_files, both with {"path": "a"} and {"path": "b"}.'
KEEP = {"chat_template_kwargs": {"preserve_thinking": True}}


@pytest.fixture(scope="module")
def shared() -> Iterator[Desk]:
    with client() as http, conformance_server("llama.cpp") as server:
        yield Desk(server, http)


@pytest.fixture
def desk(shared: Desk) -> Desk:
    """A llama.cpp server that has forgotten everything, and is healthy until told otherwise."""
    shared.server.forget()
    shared.server.set_faults()
    shared.server.set_script()
    return shared


def continue_after(desk: Desk, history: list[Json], message: Json, **more: Any) -> Json:
    return desk.ask([*history, message, user("The second number?")], **more)


def test_faults_of_thinking(desk: Desk) -> None:
    ask = user("Choose two random numbers and tell me the first.")
    desk.server.set_faults(fault(Fault.REASONING_RENAMED, text="inner_voice"))
    assert "second number" in desk.ask([ask])["inner_voice"]
    desk.server.set_faults(Fault.REASONING_INLINE)
    assert desk.ask([ask])["content"].startswith("<think>\nFirst number")
    desk.server.set_faults(Fault.REASONING_INLINE_UNOPENED)
    assert desk.ask([ask])["content"].startswith("First number")
    desk.server.set_faults(Fault.REASONING_STRIPPED_BY_PROXY)
    assert "reasoning_content" not in desk.ask([ask])
    desk.server.set_faults(Fault.ALWAYS_THINKS)
    assert "reasoning_content" in desk.ask([ask], chat_template_kwargs={"enable_thinking": False})
    desk.server.set_faults(Fault.NEVER_THINKS)
    assert "reasoning_content" not in desk.ask([ask], chat_template_kwargs={"enable_thinking": True})
    desk.server.set_faults(fault(Fault.ENDLESS_THINKING, tokens=500))
    endless = desk.post([ask]).json()["choices"][0]
    assert (endless["finish_reason"], endless["message"]["content"]) == ("length", "")
    assert desk.server.last.reasoning_tokens == 500


@pytest.mark.parametrize(("kind", "cause"), [
    (None, None),
    (Fault.REASONING_INPUT_IGNORED, Cause.REASONING_NOT_CARRIED),
    (Fault.PRESERVE_IGNORED, Cause.REASONING_IGNORED),
    (Fault.REASONING_STRIPPED_BY_PROXY, Cause.REASONING_WITHHELD),
    (Fault.REASONING_RENAMED, Cause.REASONING_WITHHELD),
])  # fmt: skip
def test_thinking_lost_by_the_server_changes_the_answer(desk: Desk, kind: Fault | None, cause: Cause | None) -> None:
    desk.server.set_faults(*([kind] if kind else []))
    history = [user("Choose two random numbers and tell me the first.")]
    message = desk.ask(history, **KEEP)
    second = desk.server.last.generated_text.split("second number: ")[1][:20]
    answer = continue_after(desk, history, sent_back(desk.server.behaviour, message), **KEEP)["content"]
    assert (second in answer) == (kind is None)
    assert desk.server.last.prefix is not None
    assert desk.server.last.prefix.cause is cause
    assert (desk.server.lost_tokens > 20) == (kind is not None)
    assert desk.server.avoidable_losses == []


def test_faults_of_calls(desk: Desk) -> None:
    asked = [user(CALLING)]

    def answer(*faults: Fault | ActiveFault) -> Json:
        desk.server.set_faults(*faults)
        return desk.post(asked, tools=TOOLS).json()["choices"][0]

    for kind, place in ((Fault.CALLS_IN_CONTENT, "content"), (Fault.CALLS_IN_REASONING, "reasoning_content")):
        choice = answer(kind)
        assert "<tool_call>\n<function=read_file>\n<parameter=path>\na.txt" in choice["message"][place]
        assert ("tool_calls" in choice["message"], choice["finish_reason"]) == (False, "stop")
    hermes = answer(Fault.HERMES_CALLS_IN_CONTENT)["message"]["content"]
    assert '<tool_call>\n{"name": "read_file", "arguments": {"path": "a.txt"}}\n</tool_call>' in hermes
    assert "id" not in answer(Fault.MISSING_IDS)["message"]["tool_calls"][0]
    assert answer(Fault.OBJECT_ARGUMENTS)["message"]["tool_calls"][0]["function"]["arguments"] == {"path": "a.txt"}
    assert answer(Fault.EMPTY_ARGUMENTS)["message"]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert answer(fault(Fault.FINISH_REASON_LIES, text="eos"))["finish_reason"] == "eos"
    empty = answer(Fault.EMPTY_TURN)
    assert (empty["message"]["content"], empty["finish_reason"]) == ("", "stop")
    asked = [user(BOTH)]
    assert len({call["id"] for call in answer(Fault.REPEATED_IDS)["message"]["tool_calls"]}) == 1
    assert len(answer(Fault.PARALLEL_DROPPED)["message"]["tool_calls"]) == 1


def test_faults_of_streamed_calls(desk: Desk) -> None:
    def pieces(kind: Fault) -> list[Json]:
        desk.server.set_faults(kind)
        chunks = desk.stream([user(CALLING)], tools=TOOLS).chunks if kind is not Fault.MISSING_INDEX else []
        if kind is Fault.MISSING_INDEX:
            text = desk.post([user(CALLING)], tools=TOOLS, stream=True).text
            chunks = [json.loads(data) for data in events(text) if data != "[DONE]"]
        deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
        return [piece for delta in deltas for piece in delta.get("tool_calls", [])]

    assert "".join(piece["function"]["arguments"] for piece in pieces(Fault.ARGUMENTS_MISSING_IN_STREAM)) == ""
    assert all("index" not in piece for piece in pieces(Fault.MISSING_INDEX))
    named = [piece["function"].get("name") for piece in pieces(Fault.NAME_REPEATED)]
    assert len(named) > 1
    assert set(named) == {"read_file"}


def test_faults_of_counts(desk: Desk) -> None:
    asked = [user("Say OK. " + "Some padding. " * 50)]
    desk.ask(asked)
    desk.server.set_faults(Fault.USAGE_LIES)
    usage = desk.post(asked).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    assert desk.server.last.cached_tokens > 50
    desk.server.set_faults(Fault.CACHE_NEVER_HITS)
    desk.ask(asked)
    assert desk.server.last.cached_tokens == 0
    desk.server.set_faults(Fault.NO_USAGE)
    assert "usage" not in desk.post(asked).json()
    assert usage_of(desk.stream(asked, stream_options={"include_usage": True})) is None
    desk.server.set_faults(Fault.OUTPUT_CAP_IGNORED)
    desk.ask([user("Count to 200")], max_tokens=5)
    assert desk.server.last.completion_tokens > 200


def test_faults_of_the_window(desk: Desk) -> None:
    long = [user("start"), {"role": "assistant", "content": "ok"}] * 100 + [user("Say OK")]
    desk.server.set_faults(fault(Fault.SMALLER_CONTEXT, tokens=500))
    refused = desk.post(long)
    assert refused.json()["error"]["n_ctx"] == 500
    assert desk.get("/props").json()["default_generation_settings"]["n_ctx"] == desk.server.behaviour.context.window
    desk.server.set_faults(fault(Fault.SMALLER_CONTEXT, tokens=500), fault(Fault.OVERFLOW_UNKNOWN_FORM, text="No."))
    assert desk.post(long).json() == {"fault": "No."}
    desk.server.set_faults(fault(Fault.SMALLER_CONTEXT, tokens=500), Fault.SILENT_TRUNCATION)
    usage = desk.post(long).json()["usage"]
    assert usage["prompt_tokens"] < 500
    assert desk.server.last.truncated > 50


def test_faults_of_images(desk: Desk) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    asked = [{"role": "user", "content": [{"type": "text", "text": "Describe the image."}, image]}]
    assert "I see an image" in desk.ask(asked)["content"]
    desk.server.set_faults(Fault.IMAGES_UNSEEN)
    assert "I see no image" in desk.ask(asked)["content"]
    desk.server.set_faults(Fault.IMAGES_REFUSED)
    assert desk.post(asked).status_code == 500


def test_a_fault_strikes_the_requests_that_it_is_meant_for(desk: Desk) -> None:
    desk.server.set_faults(fault(Fault.HTTP_ERROR, status=429, retry_after="7", after=1, times=2))
    answers = [desk.post([user("Hello")]) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 429, 429, 200]
    assert answers[1].headers["retry-after"] == "7"
    assert "error" in answers[1].json()
    desk.server.set_faults(fault(Fault.HTML, only="streamed"))
    assert desk.ask([user("Hello")])
    page = desk.post([user("Hello")], stream=True)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    with pytest.raises(ValueError, match="no_such_parameter"):
        fault(Fault.HTML, no_such_parameter=1)


def test_a_disconnect_at_each_boundary_leaves_what_was_sent_before(desk: Desk) -> None:
    asked = [user("Say: Grüße, 世界")]
    desk.server.set_faults(Fault.CACHE_NEVER_HITS)
    desk.stream(asked)
    whole = desk.server.last.events
    for boundary in range(len(whole) + 1):
        desk.server.set_faults(Fault.CACHE_NEVER_HITS, fault(Fault.DISCONNECT, at=boundary))
        received: list[bytes] = []
        with desk.opened(asked) as response, pytest.raises(httpx2.RemoteProtocolError):
            received.extend(response.iter_raw())
        assert b"".join(received) == b"".join(whole[:boundary])
        assert not desk.server.last.delivered
    desk.server.set_faults(fault(Fault.DISCONNECT_AT_BYTE, at=100))
    with pytest.raises(httpx2.RemoteProtocolError):
        desk.post(asked, stream=True)
    desk.server.set_faults(Fault.DISCONNECT)
    with pytest.raises(httpx2.RemoteProtocolError):
        desk.post(asked)


def test_split_and_joined_writes_change_no_byte(desk: Desk) -> None:
    asked = [user("Say: Grüße, 世界 🎈")]
    desk.server.set_faults(Fault.CACHE_NEVER_HITS)
    desk.stream(asked)
    healthy = b"".join(desk.server.last.events)
    for kind in (Fault.SPLIT_UTF8, Fault.ONE_BYTE_WRITES, Fault.ONE_GIANT_CHUNK):
        desk.server.set_faults(Fault.CACHE_NEVER_HITS, kind)
        assert desk.post(asked, stream=True).content == healthy
    desk.server.set_faults(Fault.SPLIT_UTF8)
    with desk.opened(asked) as response:
        parts = list(response.iter_raw())
    assert any(part[:1] and part[0] & 0xC0 == 0x80 for part in parts)


def test_strange_events(desk: Desk) -> None:
    asked: dict[str, Any] = {"messages": [user("Hello")], "stream": True, "stream_options": {"include_usage": True}}

    def lines(kind: Fault | ActiveFault) -> list[str]:
        desk.server.set_faults(kind)
        return events(desk.post(**asked).text)

    assert '"error"' in lines(fault(Fault.ERROR_EVENT, at=3))[3]
    assert len(lines(fault(Fault.ERROR_EVENT, at=3))) == 4
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(lines(fault(Fault.GARBAGE_EVENT, at=2))[2])
    assert json.loads(lines(fault(Fault.EMPTY_CHOICES, at=0))[0])["choices"] == []
    doubled = lines(Fault.DUPLICATED_USAGE)
    assert doubled[-2] == doubled[-3]
    desk.server.set_faults(Fault.COMMENTS)
    assert desk.post(**asked).text.startswith(": ")


@pytest.mark.parametrize(
    "kind", [Fault.STALL_BEFORE_HEADERS, Fault.STALL_BEFORE_FIRST_TOKEN, Fault.STALL_BETWEEN_TOKENS]
)
def test_a_stall_keeps_a_client_waiting_at_its_place(desk: Desk, kind: Fault) -> None:
    desk.server.set_faults(fault(kind, at=2))
    received: list[bytes] = []
    if kind is Fault.STALL_BEFORE_HEADERS:
        with pytest.raises(httpx2.ReadTimeout):
            desk.post([user("Hello")], timeout=0.2)
    else:
        with desk.opened([user("Hello")], timeout=0.2) as response, pytest.raises(httpx2.ReadTimeout):
            received.extend(response.iter_raw())
    assert b"".join(received).count(b"data: ") == (2 if kind is Fault.STALL_BETWEEN_TOKENS else 0)
    desk.server.set_faults(fault(kind, seconds=0.01), fault(Fault.SLOW_PREFILL, seconds=0.01))
    assert desk.stream([user("Hello")]).finish_reason == "stop"


Edit = Callable[[list[Json], Json], None]


def _set(path: list[Any], value: Any) -> Edit:
    def edit(messages: list[Json], body: Json) -> None:
        target: Any = body if path[0] == "tools" else messages
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value

    return edit


def _drop(place: int, key: str) -> Edit:
    return lambda messages, body: messages[place].pop(key)


def _nothing(messages: list[Json], body: Json) -> None:
    """Send it as it came."""


def _rename(messages: list[Json], body: Json) -> None:
    messages[2]["reasoning"] = messages[2].pop("reasoning_content")


def _reorder(messages: list[Json], body: Json) -> None:
    body["tools"] = body["tools"][::-1]


@pytest.mark.parametrize(("edit", "cause", "place"), [
    (_nothing, None, None),
    (_set([0, "content"], "It is 12:01."), Cause.SYSTEM_CHANGED, 0),
    (_reorder, Cause.TOOLS_CHANGED, -1),
    (_drop(2, "reasoning_content"), Cause.REASONING_NOT_SENT, 2),
    (_rename, Cause.REASONING_UNREAD, 2),
    (_set([2, "reasoning_content"], "Summary."), Cause.REASONING_CHANGED, 2),
    (_set([2, "content"], "Something else."), Cause.CONTENT_CHANGED, 2),
    (_set([2, "tool_calls", 0, "function", "arguments"], '{"n": 1, "path": "a"}'), Cause.ARGUMENTS_CHANGED, 2),
    (_set([2, "tool_calls", 0, "function", "arguments"], '{ "path":"a", "n":1}'), None, None),
    (_set([2, "tool_calls", 0, "function", "name"], "list_files"), Cause.CALLS_CHANGED, 2),
    (_set([3, "content"], "pruned"), Cause.MESSAGE_CHANGED, 3),
])  # fmt: skip
def test_what_a_client_changes_is_found_and_could_have_been_avoided(
    desk: Desk, edit: Edit, cause: Cause | None, place: int | None
) -> None:
    desk.server.set_script(
        Reply("I look.", "Looking.", [Call("read_file", {"path": "a", "n": 1})]), Reply("I see.", "Seen.")
    )
    history: list[Json] = [{"role": "system", "content": "Be good."}, user("Go")]
    message = desk.ask(history, tools=TOOLS)
    history += [message, result(message["tool_calls"][0], "text")]
    second = desk.ask(history, tools=TOOLS)
    assert desk.server.losses == []
    history = json.loads(json.dumps([*history, second, user("On")]))
    body: Json = {"tools": TOOLS, **KEEP}
    edit(history, body)
    desk.ask(history, **body)
    assert desk.server.last.prefix is not None
    assert desk.server.last.prefix.cause is cause
    assert [loss.message for loss in desk.server.avoidable_losses] == ([] if cause is None else [place])
    assert (desk.server.last.prefix.lost_tokens > 0) == (cause is not None)


@pytest.mark.parametrize(("reply", "cause"), [
    (Reply("Thought\n", "Text"), Cause.TEMPLATE_WHITESPACE),
    (Reply("Thought", "Text\n"), Cause.TEMPLATE_WHITESPACE),
    (Reply("Thought", "", [Call("read_file", {"n": True}, raw="<tool_call>\n<function=read_file>\n<parameter=n>\nTrue\n"
                                "</parameter>\n</function>\n</tool_call>")]), Cause.TEMPLATE_ARGUMENTS),
])  # fmt: skip
def test_what_lies_in_the_template_is_no_client_s_fault(desk: Desk, reply: Reply, cause: Cause) -> None:
    desk.server.set_script(reply)
    history = [user("Go")]
    message = desk.ask(history, tools=TOOLS)
    history += [sent_back(desk.server.behaviour, message)]
    history += [result(call, "x") for call in message.get("tool_calls", [])]
    desk.ask([*history, user("On")], tools=TOOLS, **KEEP)
    assert desk.server.losses
    assert {loss.cause for loss in desk.server.losses} == {cause}
    assert desk.server.avoidable_losses == []


def test_a_cut_is_lost_only_where_it_cannot_be_rendered(desk: Desk) -> None:
    desk.server.set_script(Reply("Thought", "A text that is longer than the cap allows"))
    message = desk.ask([user("Go")], max_tokens=8)
    desk.ask([user("Go"), message, user("On")], **KEEP)
    assert desk.server.losses == []
    desk.server.forget()
    desk.server.set_script(Reply("Thought", "Text", [Call("read_file", {"path": "long/" * 20})]))
    message = desk.ask([user("Go")], tools=TOOLS, max_tokens=40)
    del message["tool_calls"]  # cut arguments are never executed, nor sent
    desk.ask([user("Go"), message, user("On")], tools=TOOLS, **KEEP)
    assert {loss.cause for loss in desk.server.losses} == {Cause.GENERATION_CUT}


def test_a_stranded_call_and_a_truncation_are_no_client_s_fault(desk: Desk) -> None:
    desk.server.set_faults(Fault.CALLS_IN_REASONING)
    message = desk.ask([user(CALLING)], tools=TOOLS)
    call = {"id": "r0", "type": "function", "function": {"name": "read_file", "arguments": '{"path": "a.txt"}'}}
    thought = message["reasoning_content"].partition("<tool_call>")[0]
    recovered = {"role": "assistant", "content": message["content"], "reasoning_content": thought, "tool_calls": [call]}
    desk.ask([user(CALLING), recovered, result(call, "x")], tools=TOOLS)
    assert {loss.cause for loss in desk.server.losses} == {Cause.CALL_STRANDED}
    desk.server.forget()
    desk.server.set_faults(fault(Fault.SMALLER_CONTEXT, tokens=300), Fault.SILENT_TRUNCATION)
    history = [user("Say OK")]
    for _ in range(12):
        history += [desk.ask(history, **KEEP), user("Say OK, " + "please " * 8)]
    assert {loss.cause for loss in desk.server.losses} == {Cause.SERVER_TRUNCATED}


def test_a_long_conversation_loses_nothing(desk: Desk) -> None:
    desk.server.set_script(
        *[Reply(f"Thought {n}", f"Text {n}", [Call("read_file", {"path": f"{n}"})]) for n in range(60)]
    )
    history = [user("Go")]
    for _ in range(60):
        message = desk.stream(history, tools=TOOLS).message
        history += [message, result(message["tool_calls"][0], "text " * 20)]
    assert desk.server.losses == []
    assert all(
        new.cached_tokens >= old.prompt_tokens
        for old, new in zip(desk.server.journal, desk.server.journal[1:], strict=False)
    )
