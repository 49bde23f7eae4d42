"""What shows prompts: a template on this machine, and two kinds of server over real sockets."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from prefix_desk import FORGET, PRESERVE, SYSTEM, TASK, TEMPLATE, TOOLS, Talk, answers, call, echo, said
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from agent.prefix.renderers import LocalTemplate, Renderer, RendererError
from agent.prefix.servers import LlamaCppRenderer, VllmRenderer, open_server_renderer, root_of

TURN = said("Hm.\n", "Look:\n\n", call(command="ls", n=[1, 2]))
HISTORY = [SYSTEM, TASK, echo(TURN), *answers(TURN)]
KEY = "sk-0123456789"


@asynccontextmanager
async def serving(**paths: Callable[[dict[str, Any]], Any]) -> AsyncGenerator[str]:
    """A server that answers POSTs at these paths (`_` stands for `-`); a 401 without the key, where it sends one."""

    def endpoint(answer: Callable[[dict[str, Any]], Any]) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            if request.headers.get("Authorization", f"Bearer {KEY}") != f"Bearer {KEY}":
                return JSONResponse({"error": {"message": "Invalid API Key"}}, 401)
            result = answer(await request.json())
            return result if isinstance(result, Response) else JSONResponse(result)

        return respond

    routes = [Route(f"/{path.replace('_', '-')}", endpoint(answer), methods=["POST"]) for path, answer in paths.items()]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="error", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


class Vllm:
    """vLLM's two endpoints as its source has them: tokens are characters here, and no fewer fields are allowed."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def tokenize(self, body: dict[str, Any]) -> dict[str, Any]:
        self.seen.append(body)
        text = json.dumps([body["messages"], body.get("tools"), body.get("chat_template_kwargs")], ensure_ascii=False)
        tokens = [ord(each) for each in text + ("<|im_start|>assistant\n" if body["add_generation_prompt"] else "")]
        return {"count": len(tokens), "max_model_len": 4096, "tokens": tokens, "token_strs": None}

    def detokenize(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"prompt": "".join(map(chr, body["tokens"]))}


async def test_vllm_gets_all_that_a_template_sees_and_gives_back_text():
    vllm = Vllm()
    async with (
        serving(tokenize=vllm.tokenize, detokenize=vllm.detokenize) as root,
        VllmRenderer(root, KEY) as renderer,
    ):
        opened = await renderer.render(HISTORY, TOOLS, PRESERVE, open_turn=True)
        closed = await renderer.render(HISTORY, TOOLS, PRESERVE, open_turn=False)
    assert opened == closed + "<|im_start|>assistant\n"
    assert json.loads(closed) == [HISTORY, TOOLS, PRESERVE]
    assert [body["add_special_tokens"] for body in vllm.seen] == [False, False]


async def test_the_kind_of_server_is_found_out():
    vllm = Vllm()
    async with (
        serving(tokenize=vllm.tokenize, detokenize=vllm.detokenize) as root,
        open_server_renderer(f"{root}/v1", KEY) as renderer,
    ):
        assert isinstance(renderer, VllmRenderer)
        assert renderer.name == f"{root}/tokenize"
    async with (
        serving(apply_template=lambda body: {"prompt": str(body["messages"])}) as root,
        open_server_renderer(root) as renderer,
    ):
        assert isinstance(renderer, LlamaCppRenderer)
        assert await renderer.render([TASK], [], {}, open_turn=True) == str([TASK])


def llama_tokenize(body: dict[str, Any]) -> Response:
    """llama-server has a /tokenize too, for text; only its template endpoint tells it apart."""
    return JSONResponse({"tokens": []})


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "an error": (lambda _: JSONResponse({"error": {"message": "Jinja Exception: no"}}, 500), "500.*Jinja Exception"),
    "no JSON": (lambda _: PlainTextResponse("hello"), "no JSON: 'hello'"),
    "other JSON": (lambda _: {"text": "hello"}, "without 'prompt'"),
    "a list": (lambda _: ["hello"], "without 'prompt'"),
}


@pytest.mark.parametrize(("answer", "said"), FAULTS.values(), ids=FAULTS)
async def test_what_a_server_says_instead_is_told_with_its_address(answer: Callable[[dict[str, Any]], Any], said: str):
    async with serving(apply_template=answer) as root, LlamaCppRenderer(root) as renderer:
        with pytest.raises(RendererError, match=said) as caught:
            await renderer.render([TASK], [], {}, open_turn=True)
    assert f"{root}/apply-template" in str(caught.value)


async def test_a_wrong_key_is_said_and_never_shown():
    async with serving(apply_template=lambda _: {"prompt": ""}) as root, LlamaCppRenderer(root, "sk-wrong") as renderer:
        with pytest.raises(RendererError, match=r"401.*Invalid API Key") as caught:
            await renderer.render([TASK], [], {}, open_turn=True)
    assert "sk-wrong" not in str(caught.value)


async def test_a_server_that_shows_no_prompt_is_no_renderer():
    async with serving(tokenize=llama_tokenize) as root:
        with pytest.raises(RendererError, match="--template FILE"):
            async with open_server_renderer(root):
                pass


async def test_nobody_at_the_address_is_said():
    async with LlamaCppRenderer("http://127.0.0.1:9") as renderer:
        with pytest.raises(RendererError, match="is the server running"):
            await renderer.render([TASK], [], {}, open_turn=True)


@pytest.mark.parametrize("url", ["http://h:1/v1", "http://h:1/v1/", "http://h:1", "http://h:1/"])
def test_the_root_of_a_base_url(url: str):
    assert root_of(url) == "http://h:1"


def template(folder: Path, text: str) -> LocalTemplate:
    (folder / "t.jinja").write_text(text, "utf-8")
    return LocalTemplate(folder / "t.jinja")


async def shown(renderer: Renderer, **flags: Any) -> str:
    return await renderer.render(HISTORY, TOOLS, flags, open_turn=False)


RENDERED = {
    "tojson escapes nothing": ('{{ "<é&\'>" | tojson }}', '"<é&\'>"'),
    "tojson takes an indent": ("{{ [1] | tojson(indent=1) }}", "[\n 1\n]"),
    "arguments are objects": ("{{ messages[2].tool_calls[0].function.arguments.n[1] }}", "2"),
    "loops can be left": ("{% for m in messages %}{% if loop.index0 > 1 %}{% break %}{% endif %}x{% endfor %}", "xx"),
    "blocks take their line": ("a\n  {% if true %}\nb\n  {% endif %}\nc", "a\nb\nc"),
    "marks of a generation are none": ("a{% generation %}b{% endgeneration %}c", "abc"),
    "what is not told is undefined": ("{{ bos_token }}{{ nothing is defined }}", "False"),
    "flags are variables": ("{{ preserve_thinking }}", "True"),
    "a day can be written": ("{{ strftime_now('%Y') | length }}", "4"),
    "tools are given": ("{{ tools | length }}{{ tools[0].function.name }}", "2bash"),
}


@pytest.mark.parametrize(("text", "expected"), RENDERED.values(), ids=RENDERED)
async def test_a_local_template_renders_as_transformers_does(text: str, expected: str, tmp_path: Path):
    assert await shown(template(tmp_path, text), preserve_thinking=True) == expected


REFUSED = {
    "raise_exception": "{{ raise_exception('No such role.') }}",
    "a wrong type": "{{ messages + 1 }}",
    "a write": "{{ messages.append(1) }}",
    "an unsafe attribute": "{{ messages.__class__.__mro__[1].__subclasses__() }}",
    "an operation on nothing": "{{ nothing.at.all }}",
    "a division by zero": "{{ 1 / 0 }}",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
async def test_a_template_that_refuses_or_fails_is_said_with_its_file(text: str, tmp_path: Path):
    with pytest.raises(RendererError, match=r"t\.jinja refuses"):
        await shown(template(tmp_path, text))


def test_a_file_that_is_no_template_is_said(tmp_path: Path):
    with pytest.raises(RendererError, match="is no chat template"):
        template(tmp_path, "{% if %}")
    with pytest.raises(RendererError, match="cannot be read"):
        LocalTemplate(tmp_path / "missing.jinja")


async def test_arguments_that_are_no_json_are_said_with_their_place():
    message = echo(said("Hm.", "", '{"command": '))
    with pytest.raises(RendererError, match=r"messages\[1\]\.tool_calls\[0\]"):
        await LocalTemplate(TEMPLATE).render([TASK, message], [], {}, open_turn=True)


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("reasoning_content",), "C"), (("reasoning",), "R"), (("reasoning", "reasoning_content"), "R"), ((), "")],
)
async def test_thinking_is_read_under_the_names_that_the_server_reads(
    names: tuple[str, ...], expected: str, tmp_path: Path
):
    (tmp_path / "t.jinja").write_text("{{ messages[0].reasoning_content }}{{ messages[0].reasoning }}", "utf-8")
    message = {"role": "assistant", "content": "", "reasoning_content": "C", "reasoning": "R"}
    assert await LocalTemplate(tmp_path / "t.jinja", names).render([message], [], {}, open_turn=False) == expected


@pytest.mark.parametrize("flags", [PRESERVE, FORGET])
async def test_our_template_and_the_scripted_backend_see_the_same_prompt(flags: dict[str, bool]):
    """Two renderings of one set of rules, written apart: the scripted backend's is turn by turn."""
    from agent.scripted.rendering import Renderer as Scripted
    from agent.scripted.wire import parse_request

    talk = Talk()
    talk.turn(TURN, question="And?")
    body = {"messages": talk.messages, "tools": TOOLS, "chat_template_kwargs": flags}
    prompt = await LocalTemplate(TEMPLATE).render(talk.messages, TOOLS, flags, open_turn=True)
    assert prompt == Scripted().text(parse_request(json.dumps(body).encode()))
