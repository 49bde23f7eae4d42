"""Our chat template on the real server renders what the scripted backend renders, for any request."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from agent.scripted.rendering import Renderer
from agent.scripted.wire import RequestError, parse_request
from llama_server.replies import Reply
from llama_server.scripted_model import write_scripted_model
from llama_server.server import LlamaServer, ServerError, running
from tools.tool import definition
from tools.toolset import make_toolset

Message = dict[str, Any]
TOOLS = [definition(tool) for tool in make_toolset("bash+editor")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    model = tmp_path_factory.mktemp("models") / "one.gguf"
    write_scripted_model(model, [Reply(content="I say nothing.")])
    with running(model, context=2048) as started:
        yield started


def system(text: str = "  You work in a repository.\n") -> Message:
    return {"role": "system", "content": text}


def user(content: Any = "Mend it.\n") -> Message:
    return {"role": "user", "content": content}


def result(text: str = "exit=0 0.1s\n  indented\n\n") -> Message:
    return {"role": "tool", "tool_call_id": "c", "content": text}


def call(name: str = "bash", **arguments: Any) -> Message:
    written = json.dumps(arguments, ensure_ascii=False)
    return {"id": "c", "type": "function", "function": {"name": name, "arguments": written}}


def assistant(content: str | None = "I look.\n\n", *calls: Message, **fields: Any) -> Message:
    return {"role": "assistant", "content": content, **({"tool_calls": list(calls)} if calls else {}), **fields}


def thinking(content: str | None, *calls: Message, thought: str = "\nHm, what is this?\n") -> Message:
    return assistant(content, *calls, reasoning_content=thought)


LOOK = call(command="ls -la\n")
CONVERSATIONS: dict[str, list[Message]] = {
    "a question": [user()],
    "with a system message": [system(), user()],
    "an empty system message": [system(""), user()],
    "tool turns": [system(), user(), thinking("I look.\n\n", LOOK), result(), thinking("", LOOK), result("")],
    "parallel calls": [system(), user(), thinking(None, LOOK, call(command="pwd")), result("a"), result("b\n")],
    "a next question": [system(), user(), thinking("", LOOK), result(), thinking("Done."), user("And now?")],
    "a next question that is a tool response": [
        system(), user(), thinking("Done."), user("<tool_response>\nremember\n</tool_response>"),
        thinking("Yes."), user(),
    ],
    "no thinking": [system(), user(), assistant("I look.", LOOK), result(), assistant("Done."), user("Thanks.")],
    "empty thinking": [system(), user(), thinking("Done.", thought=""), user("Thanks.")],
    "thinking inside the text": [system(), user(), assistant("<think>\nHm.\n</think>\n\nDone.\n"), user("Thanks.")],
    "values of all kinds": [
        system(), user(),
        thinking("", call("str_replace_editor", path="/a b", view_range=[1, 20], deep={"a": [True, None, 1.5]})),
        result(), assistant("", call(number=3, truth=False, nothing=None, text="„Grüße“ <&> 'quoted' \\n")), result(),
    ],
    "no parameters": [system(), user(), assistant("", call()), result()],
    "parts": [system(), user([{"type": "text", "text": "One, "}, {"type": "text", "text": "two. "}])],
    "markup in a text": [
        system(), user("What is <tool_call> and {{ jinja }} {% raw %}?"), assistant("It is <b>."), user(),
    ],
}  # fmt: skip
REFUSED: dict[str, list[Message]] = {
    "no question": [system(), assistant("I begin.")],
    "a second system message": [system(), user(), system()],
    "an unknown role": [system(), user(), {"role": "critic", "content": "No."}],
}


@pytest.mark.parametrize("tools", [[], TOOLS], ids=["no tools", "tools"])
@pytest.mark.parametrize("preserve", [True, False], ids=["preserved", "forgotten"])
@pytest.mark.parametrize("thinks", [True, False], ids=["thinking", "instruct"])
def test_prompts_are_the_same(server: LlamaServer, *, thinks: bool, preserve: bool, tools: list[Message]):
    options = {"enable_thinking": thinks, "preserve_thinking": preserve}
    differing: dict[str, tuple[str, str]] = {}
    for name, messages in CONVERSATIONS.items():
        body = {"messages": messages, "tools": tools, "chat_template_kwargs": options}
        on_server = server.prompt(body)
        scripted = Renderer().text(parse_request(json.dumps(body).encode()))
        if on_server != scripted:
            differing[name] = on_server, scripted

    assert differing == {}


@pytest.mark.parametrize("messages", REFUSED.values(), ids=REFUSED.keys())
def test_what_one_refuses_the_other_refuses(server: LlamaServer, messages: list[Message]):
    body = {"messages": messages}

    with pytest.raises(ServerError):
        server.prompt(body)
    with pytest.raises(RequestError):
        Renderer().text(parse_request(json.dumps(body).encode()))
