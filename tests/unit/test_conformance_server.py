"""The conformance servers themselves, asked by a plain HTTP client: each family answers as its fixture says, and losing
thinking changes what the model says. Faults, and what is lost of a prefix, have a file of their own.
"""

import ast
import base64
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import conformance
import pytest
from conformance import Call, Cause, Reply, conformance_server, families
from conformance.desk import (
    TOOLS,
    Desk,
    Json,
    asking_to_preserve,
    client,
    events,
    put_together,
    result,
    sent_back,
    thinking,
    usage_of,
    user,
)

CALLING = "Call the tool read_file with path=a.txt"
CANARY = "first number: 12345678901234567890, second number: 98765432109876543210"


@pytest.fixture(scope="module")
def desk_of() -> Iterator[Callable[..., Desk]]:
    """The desk of a family; healthy servers are shared, and forget between tests."""
    with ExitStack() as stack, client() as http:
        healthy: dict[str, Desk] = {}

        def open_desk(family: str, **settings: Any) -> Desk:
            if settings or family not in healthy:
                desk = Desk(stack.enter_context(conformance_server(family, **settings)), http)
                if settings:
                    return desk
                healthy[family] = desk
            healthy[family].server.forget()
            return healthy[family]

        yield open_desk


def test_nothing_here_knows_the_product_s_dialect_table() -> None:
    for file in Path(conformance.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.split(".")[0] in ("agent", "unbroken", "evals")], file


@pytest.mark.parametrize("family", families())
def test_thinking_and_calls_come_out_as_the_fixture_says(desk_of: Callable[..., Desk], family: str) -> None:
    desk = desk_of(family)
    form, wire = desk.server.behaviour.reasoning, desk.server.behaviour.wire
    message = desk.ask([user(CALLING)], tools=TOOLS)
    thought = desk.server.last.generation.reasoning.strip()  # type: ignore[union-attr]
    turn = desk.stream([user(CALLING)], tools=TOOLS)
    for seen in (message, turn.message):
        assert (seen.get(form.emitted_as or "", "").strip() == thought) == (form.emitted_as is not None)
        assert (f"<think>\n{thought}\n</think>" in (seen["content"] or "")) == form.inline
        assert ("reasoning_details" in seen) == form.details
        call = seen["tool_calls"][0]
        assert call["function"]["name"] == "read_file"
        assert json.loads(call["function"]["arguments"]) == {"path": "a.txt"}
        assert ("extra_content" in call) == form.signatures
    assert turn.finish_reason == "tool_calls"
    shown = turn.message["content"]
    assert (shown == shown.strip()) == (wire.streamed_whitespace == "stripped")
    roles = [choice["delta"].get("role") for chunk in turn.chunks for choice in chunk["choices"]]
    assert roles.count("assistant") == (len(roles) if wire.role == "every" else 1)


@pytest.mark.parametrize("family", families())
def test_usage_stands_where_the_fixture_says(desk_of: Callable[..., Desk], family: str) -> None:
    desk = desk_of(family)
    wire = desk.server.behaviour.wire
    first = user("Reply with exactly OK. " + "Padding to make the prompt longer. " * 400)
    asked = desk.stream([first], stream_options={"include_usage": True})
    unasked = desk.stream([first])
    usage = usage_of(asked)
    assert usage is not None
    assert (usage_of(unasked) is not None) == wire.usage_unasked
    assert usage["prompt_tokens"] == desk.server.last.prompt_tokens
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    ends_without_choices = not asked.chunks[-1]["choices"]
    assert ends_without_choices == (wire.usage_place == "last_chunk")
    cached = desk.server.last.cached_tokens
    assert cached % desk.server.behaviour.usage.block == 0
    assert 0 < desk.server.last.prompt_tokens - cached <= max(1, desk.server.behaviour.usage.block)
    assert (b"[DONE]" in desk.server.last.events[-1]) == wire.done


@pytest.mark.parametrize("family", families())
def test_thinking_that_is_sent_back_survives_a_tool_turn(desk_of: Callable[..., Desk], family: str) -> None:
    desk = desk_of(family)
    behaviour = desk.server.behaviour
    history = [user(CALLING)]
    turn = desk.stream(history, tools=TOOLS)
    history += [sent_back(behaviour, turn.message), result(turn.message["tool_calls"][0], "text of a.txt")]
    desk.stream(history, tools=TOOLS)
    old, new = desk.server.journal
    assert (old.prompt_text + old.generated_text in new.prompt_text) == behaviour.reasoning.carries
    assert new.prefix is not None
    assert (new.prefix.lost_tokens == 0) == behaviour.reasoning.carries
    assert desk.server.avoidable_losses == []


@pytest.mark.parametrize("family", families())
def test_a_new_user_message_keeps_thinking_where_the_family_can(desk_of: Callable[..., Desk], family: str) -> None:
    desk = desk_of(family)
    behaviour = desk.server.behaviour
    asking = asking_to_preserve(behaviour)
    history = [user("Choose two random numbers of 20 digits and tell me the first.")]
    turn = desk.stream(history, tools=TOOLS, **asking)
    history += [sent_back(behaviour, turn.message), user("What was the second number?")]
    answer = desk.stream(history, tools=TOOLS, **asking).message["content"]
    second = desk.server.journal[0].generated_text.split("second number: ")[1][:20]
    # Gemini seals thinking in calls alone, and this turn has none.
    kept = behaviour.preserve.mode in ("request", "with_tools") and behaviour.reasoning.carries
    assert (second in answer) == kept
    assert desk.server.avoidable_losses == []


def test_who_does_not_ask_loses_thinking_and_could_have_kept_it(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of("vllm")
    history = [user("Choose two random numbers and tell me the first.")]
    turn = desk.stream(history)
    desk.stream([*history, sent_back(desk.server.behaviour, turn.message), user("Go on.")])
    assert [loss.cause for loss in desk.server.avoidable_losses] == [Cause.REASONING_NOT_PRESERVED]


@pytest.mark.parametrize(("fields", "known"), [
    (["reasoning"], {"vllm", "ollama", "openrouter"}),
    (
        ["reasoning_content"],
        {"llama.cpp", "sglang", "ktransformers", "lmstudio", "mlx", "dashscope", "deepseek", "moonshot"},
    ),
    (["reasoning", "reasoning_content"], set(families()) - {"openai", "transformers-serve", "generic"}),
])  # fmt: skip
def test_which_field_reaches_the_template(desk_of: Callable[..., Desk], fields: list[str], known: set[str]) -> None:
    """The canary of a doctor: a history that the client made up, and the question for the second number."""
    for family in sorted(set(families()) - {"gemini-compat"}):
        desk = desk_of(family)
        call = {"id": "c0", "type": "function", "function": {"name": "read_file", "arguments": '{"path": "a"}'}}
        turn = {"role": "assistant", "content": "", "tool_calls": [call], **dict.fromkeys(fields, CANARY)}
        if family in ("deepseek", "moonshot"):
            turn.setdefault("reasoning_content", " ")
        messages = [user("Read a and tell me the second number."), turn, result(call, "nothing")]
        answer = desk.ask(messages, tools=TOOLS)["content"]
        assert ("98765432109876543210" in answer) == (family in known), family


def test_inline_thinking_reaches_the_template_where_nothing_else_does(desk_of: Callable[..., Desk]) -> None:
    for family in ("transformers-serve", "generic", "llama.cpp", "vllm"):
        turn = {"role": "assistant", "content": f"<think>\n{CANARY}\n</think>\n\nDone.", "reasoning_content": ""}
        if family == "vllm":
            del turn["reasoning_content"]
        desk = desk_of(family)
        desk.ask([user("hi"), turn, user("The second number?")], **asking_to_preserve(desk.server.behaviour))
        assert (CANARY in desk.server.last.prompt_text) == (family != "generic")  # where nothing preserves it


@pytest.mark.parametrize("family", families())
def test_thinking_is_turned_off_where_it_can_be(desk_of: Callable[..., Desk], family: str) -> None:
    desk = desk_of(family)
    off = thinking(desk.server.behaviour, on=False)
    desk.ask([user("Hello")], **off)
    assert ("Thought" in desk.server.last.generated_text) == (not off)
    assert desk.server.last.prompt_text.endswith("<think>\n\n</think>\n\n") == bool(off)


@pytest.mark.parametrize("family", families())
def test_an_overflow_is_answered_as_the_family_does(desk_of: Callable[..., Desk], family: str) -> None:
    desk = desk_of(family, window=600)
    behaviour = desk.server.behaviour
    filler = [user("start"), {"role": "assistant", "content": "ok", "reasoning_content": "x"}] * 60
    for stream in (False, True):
        response = desk.post([*filler, user("Reply with exactly OK")], stream=stream, **thinking(behaviour, on=False))
        if behaviour.context.overflow == "refused":
            form = behaviour.errors.overflow
            assert response.status_code == form.status
            assert response.headers["content-type"] == "application/json"
            assert "{" not in response.text.replace("{", "", response.text.count('{"'))
            assert "600" in response.text or "601" in response.text
        else:
            assert response.status_code == 200
            assert (desk.server.last.truncated > 0) == (behaviour.context.overflow == "truncated")
            assert (desk.server.last.prompt_tokens < 600) == (behaviour.context.overflow == "truncated")


@pytest.mark.parametrize("family", families())
def test_other_endpoints_answer_as_the_fixture_says(desk_of: Callable[..., Desk], family: str) -> None:
    desk = desk_of(family)
    behaviour = desk.server.behaviour
    for endpoint in behaviour.endpoints:
        if endpoint.method == "GET":
            response = desk.get(endpoint.path)
            assert response.status_code == endpoint.status
            assert "{window}" not in response.text
    models = desk.get(f"{behaviour.base_path}/models").json()
    assert behaviour.model in models["data"][0]["id"]
    unknown = desk.get("/no/such/path")
    assert unknown.status_code == behaviour.errors.path.status
    for name, value in behaviour.headers.items():
        assert unknown.headers[name] == value
    assert desk.server.inquiries[-1].path == "/no/such/path"


@pytest.mark.parametrize(("family", "path", "keys"), [
    ("llama.cpp", "/props", ["default_generation_settings", "n_ctx"]),
    ("llama.cpp", "/v1/models", ["data", 0, "meta", "n_ctx"]),
    ("vllm", "/v1/models", ["data", 0, "max_model_len"]),
    ("sglang", "/get_server_info", ["context_length"]),
    ("ollama", "/api/ps", ["models", 0, "context_length"]),
    ("lmstudio", "/api/v0/models", ["data", 0, "loaded_context_length"]),
    ("openrouter", "/api/v1/models", ["data", 0, "context_length"]),
])  # fmt: skip
def test_the_served_window_can_be_asked(desk_of: Callable[..., Desk], family: str, path: str, keys: list[Any]) -> None:
    value: Any = desk_of(family, window=4321).get(path).json()
    for key in keys:
        value = value[key]
    assert value == 4321


def test_counting_endpoints_agree_with_the_usage(desk_of: Callable[..., Desk]) -> None:
    body: Json = {"messages": [user("Hello")], "tools": TOOLS, "chat_template_kwargs": {"enable_thinking": False}}
    desk = desk_of("llama.cpp")
    desk.ask(**body)
    assert desk.inquire("/apply-template", body) == {"prompt": desk.server.last.prompt_text}
    assert desk.inquire("/v1/chat/completions/input_tokens", body)["input_tokens"] == desk.server.last.prompt_tokens
    assert desk.inquire("/tokenize", {"content": "one two"})["tokens"]
    desk = desk_of("vllm")
    desk.ask(**body)
    counted = desk.inquire("/tokenize", body)
    assert counted["count"] == len(counted["tokens"]) == desk.server.last.prompt_tokens
    assert counted["max_model_len"] == desk.server.behaviour.context.window
    assert desk.inquire("/detokenize", {"tokens": counted["tokens"]})["prompt"] == desk.server.last.prompt_text


@pytest.mark.parametrize(("family", "status", "words", "more"), [
    ("transformers-serve", 422, "{'top_k'}", {"top_k": 20}),
    ("gemini-compat", 400, 'Unknown name \\"chat_template_kwargs\\"', {"chat_template_kwargs": {}}),
    ("openai", 400, "max_completion_tokens", {"max_tokens": 5}),
    ("openai", 400, "Unknown parameter: 'enable_thinking'", {"enable_thinking": True}),
    ("vllm", 404, "does not exist", {"model": "another"}),
    ("llama.cpp", 400, "enable_thinking", {"chat_template_kwargs": {"enable_thinking": "false"}}),
    ("vllm", 400, "maximum input length of", {"max_tokens": 32760}),
])  # fmt: skip
def test_what_a_family_refuses(desk_of: Callable[..., Desk], family: str, status: int, words: str, more: Json) -> None:
    response = desk_of(family).post([user("Hello")], **more)
    assert response.status_code == status
    assert words in response.text


@pytest.mark.parametrize(("family", "thought", "status"), [
    ("deepseek", None, 400), ("deepseek", "", 200), ("moonshot", "", 400), ("moonshot", " ", 200), ("vllm", None, 200),
    ("gemini-compat", None, 400),
])  # fmt: skip
def test_what_a_family_demands_on_calls(
    desk_of: Callable[..., Desk], family: str, thought: str | None, status: int
) -> None:
    call = {"id": "c0", "type": "function", "function": {"name": "read_file", "arguments": "{}"}}
    turn = {"role": "assistant", "content": None, "tool_calls": [call]}
    turn |= {} if thought is None else {"reasoning_content": thought}
    response = desk_of(family).post([user("Hello"), turn, result(call, "x")], tools=TOOLS)
    assert response.status_code == status, response.text


def test_the_template_refuses_what_qwen_s_does(desk_of: Callable[..., Desk]) -> None:
    system = {"role": "system", "content": "s"}
    for messages in ([system, user("x"), system], [system], [{"role": "developer", "content": "d"}, user("x")]):
        assert desk_of("vllm").post(messages).status_code == 400
    assert desk_of("llama.cpp").post([system, user("x"), system]).status_code == 500
    broken = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
    turn = {"role": "assistant", "content": None, "tool_calls": [broken]}
    assert desk_of("llama.cpp").post([user("x"), turn, result(broken, "y")]).status_code == 500
    assert desk_of("vllm").post([user("x"), turn, result(broken, "y")]).status_code == 200


@pytest.mark.parametrize("family", families())
def test_the_output_cap_is_honoured_under_the_fixture_s_names(desk_of: Callable[..., Desk], family: str) -> None:
    desk = desk_of(family)
    off = thinking(desk.server.behaviour, on=False)
    for key in desk.server.behaviour.output.keys:
        turn = desk.stream([user("Count to 300")], **{key: 20}, **off)
        assert turn.finish_reason == "length"
        assert desk.server.last.completion_tokens == 20
    free = desk.stream([user("Count to 300")], **off)
    default = desk.server.behaviour.output.default
    assert free.finish_reason == ("length" if default in (512, 1024) else "stop")
    assert desk.server.last.completion_tokens == default or free.finish_reason == "stop"


def test_a_cut_call_looks_as_it_does_on_the_family(desk_of: Callable[..., Desk]) -> None:
    asked = [user('Call the tool read_file with {"path": "a/long/path/to/some/file/that/gets/cut.txt"}')]
    for family, finish in (("llama.cpp", "length"), ("vllm", "tool_calls")):
        desk = desk_of(family)
        more: Json = {"tools": TOOLS, "max_tokens": 40, **thinking(desk.server.behaviour, on=False)}
        whole = desk.post(asked, **more).json()["choices"][0]
        arguments = whole["message"]["tool_calls"][0]["function"]["arguments"]
        assert whole["finish_reason"] == finish
        assert (arguments == "{}") == (family == "vllm")
        streamed = desk.stream(asked, **more)
        assert streamed.finish_reason == "length"
        with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
            json.loads(streamed.message["tool_calls"][0]["function"]["arguments"])
    more = {"tools": TOOLS, "max_tokens": 40, "chat_template_kwargs": {"enable_thinking": False}}
    assert "tool_calls" not in desk_of("mlx").stream(asked, **more).message


def test_two_calls_when_asked_for_two_and_then_an_answer(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of("llama.cpp")
    history = [user('Call the tools read_file and list_files in parallel, with {"path": "a"} and {"path": "b"}.')]
    turn = desk.stream(history, tools=TOOLS)
    calls = turn.message["tool_calls"]
    assert [(c["function"]["name"], json.loads(c["function"]["arguments"])["path"]) for c in calls] == [
        ("read_file", "a"),
        ("list_files", "b"),
    ]
    assert len({call["id"] for call in calls}) == 2
    history += [turn.message, *[result(call, "fine") for call in calls]]
    assert desk.ask(history, tools=TOOLS)["content"].startswith("The tool says: fine")
    assert len(desk.ask(history[:1], tools=TOOLS, parallel_tool_calls=False)["tool_calls"]) == 1
    assert desk.server.lost_tokens == 0


def test_tool_choice_works_where_it_does(desk_of: Callable[..., Desk]) -> None:
    named = {"type": "function", "function": {"name": "list_files"}}
    assert desk_of("vllm").ask([user("Hi")], tools=TOOLS, tool_choice=named)["tool_calls"]
    assert (
        desk_of("vllm").post([user("Hi")], tools=TOOLS, tool_choice=named).json()["choices"][0]["finish_reason"]
        == "stop"
    )
    assert "tool_calls" not in desk_of("llama.cpp").ask([user("Hi")], tools=TOOLS, tool_choice=named)
    assert desk_of("llama.cpp").ask([user("Hi")], tools=TOOLS, tool_choice="required")["tool_calls"]
    assert "tool_calls" not in desk_of("transformers-serve").ask([user("Hi")], tools=TOOLS, tool_choice="required")


def test_images_are_seen_where_they_are_taken(desk_of: Callable[..., Desk]) -> None:
    pixels = zlib.compress(b"\0\xff\0\0")
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(png).decode()}"}}
    shown = {"role": "user", "content": [{"type": "text", "text": "Describe this image."}, image]}
    for family in families():
        desk = desk_of(family)
        response = desk.post([shown])
        assert (response.status_code == 200) == desk.server.behaviour.images.vision, family
        if response.status_code == 200:
            assert "I see an image. It is red." in response.text
    assert desk_of("dashscope").post([{"role": "user", "content": [image]}]).status_code == 400
    assert desk_of("vllm", vision=False).post([shown]).status_code == 400
    call = {"id": "c", "type": "function", "function": {"name": "read_file", "arguments": "{}"}}
    turn = {"role": "assistant", "content": None, "tool_calls": [call]}
    history = [user("Read the image"), turn, {**result(call, ""), "content": [image]}]
    for family, says in (("vllm", "I see an image"), ("ollama", "I see no image"), ("openai", "only allowed for")):
        assert says in desk_of(family).post(history, tools=TOOLS).text


def test_a_script_is_played_by_position(desk_of: Callable[..., Desk]) -> None:
    script = [Reply("R0", "C0", [Call("read_file", {"path": "x"})]), Reply("R1", "C1")]
    desk = desk_of("llama.cpp", script=script)
    first = desk.stream([user("Anything")], tools=TOOLS).message
    assert (first["reasoning_content"], first["content"]) == ("R0\n", "C0\n\n")
    history = [user("Anything"), first, result(first["tool_calls"][0], "y")]
    assert desk.ask(history, tools=TOOLS)["content"] == "C1"
    assert desk.server.lost_tokens == 0
    assert put_together(events(b"".join(desk.server.journal[0].events).decode())).message == first
