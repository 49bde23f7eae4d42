"""Shows the prompt that a server makes of a request, by asking that server.

llama.cpp has `/apply-template`; of vLLM, `/tokenize` and `/detokenize` one after the other do the same.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

from agent.addresses import http_client
from agent.prefix.renderers import Message, Renderer, RendererError

if TYPE_CHECKING:
    import httpx2

TIMEOUT = 60.0
"""Seconds for one answer; a prompt of many thousand tokens takes well under one."""

Kind = Literal["apply-template", "tokenize"]


class _ServerRenderer(ABC):
    """Use as `async with`, or close it."""

    endpoint: str

    def __init__(self, root_url: str, key: str = "", model: str | None = None) -> None:
        """`root_url` is the server's address without `/v1`. `model` is named where a server has several."""
        self._server = _Server(root_url, key)
        self._model = {} if model is None else {"model": model}

    @property
    def name(self) -> str:
        """The address."""
        return f"{self._server.root}{self.endpoint}"

    @abstractmethod
    async def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        template_flags: Mapping[str, Any],
        *,
        open_turn: bool,
    ) -> str:
        """The prompt. Raises RendererError."""

    async def close(self) -> None:
        """Close the connection."""
        await self._server.close()

    async def __aenter__(self) -> "_ServerRenderer":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class LlamaCppRenderer(_ServerRenderer):
    """Asks llama-server, which takes a last message of the model for one to go on with."""

    endpoint = "/apply-template"

    async def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        template_flags: Mapping[str, Any],
        *,
        open_turn: bool,
    ) -> str:
        """The prompt. Raises RendererError."""
        body = _request(messages, tools, template_flags, open_turn=open_turn)
        answer = await self._server.post(self.endpoint, {**self._model, **body})
        return self._server.cell(answer, "prompt", str, self.endpoint)


class VllmRenderer(_ServerRenderer):
    """Asks vLLM. Detokenising gives back what was tokenised where the tokenizer loses nothing, as Qwen's does."""

    endpoint = "/tokenize"

    async def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        template_flags: Mapping[str, Any],
        *,
        open_turn: bool,
    ) -> str:
        """The prompt. Raises RendererError."""
        body = _request(messages, tools, template_flags, open_turn=open_turn)
        answer = await self._server.post(self.endpoint, {**self._model, **body, "add_special_tokens": False})
        tokens = self._server.cell(answer, "tokens", list, self.endpoint)
        answer = await self._server.post("/detokenize", {**self._model, "tokens": tokens})
        return self._server.cell(answer, "prompt", str, "/detokenize")


@asynccontextmanager
async def open_server_renderer(
    base_url: str, key: str = "", *, kind: Kind | None = None, model: str | None = None
) -> AsyncGenerator[Renderer]:
    """A renderer for the server at `base_url`, which may end in `/v1`.

    `kind` is what a dialect's cell `rendering` says; without it the server is asked what it can do.
    Raises RendererError for a server that shows no prompts.
    """
    root = root_of(base_url)
    kind = kind or await _find_kind(root, key, model)
    renderer = {"apply-template": LlamaCppRenderer, "tokenize": VllmRenderer}[kind](root, key, model)
    try:
        yield renderer
    finally:
        await renderer.close()


def root_of(base_url: str) -> str:
    """The server's address without the `/v1` of its OpenAI endpoints."""
    return base_url.rstrip("/").removesuffix("/v1").rstrip("/")


async def _find_kind(root: str, key: str, model: str | None) -> Kind:
    message = [{"role": "user", "content": "?"}]
    reasons: list[str] = []
    for kind, renderer in (("apply-template", LlamaCppRenderer), ("tokenize", VllmRenderer)):
        async with renderer(root, key, model) as tried:
            try:
                await tried.render(message, [], {}, open_turn=True)
            except RendererError as error:
                reasons.append(str(error))
                continue
            return cast("Kind", kind)
    text = (
        f"the server at {root} shows no prompt: it has neither llama.cpp's /apply-template nor vLLM's /tokenize and "
        f"/detokenize. Give the model's chat_template.jinja instead: --template FILE\n({'; '.join(reasons)})"
    )
    raise RendererError(text)


def _request(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], flags: Mapping[str, Any], *, open_turn: bool
) -> dict[str, Any]:
    body: dict[str, Any] = {"messages": list(messages), "add_generation_prompt": open_turn}
    if tools:
        body["tools"] = list(tools)
    if flags:
        body["chat_template_kwargs"] = dict(flags)
    return body


class _Server:
    """Posts JSON and reads JSON; whatever goes wrong is a RendererError."""

    def __init__(self, root_url: str, key: str) -> None:
        self.root = root_url.rstrip("/")
        self._key = key
        self._client: httpx2.AsyncClient | None = None

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """What the server answers."""
        import httpx2

        from agent.conversation import encode

        if self._client is None:
            headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
            headers["Content-Type"] = "application/json"
            self._client = http_client(self.root, headers=headers, timeout=TIMEOUT)
        url = self.root + path
        try:
            answer = await self._client.post(url, content=encode(body))
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            message = f"{url} cannot be asked for a prompt: {error or type(error).__name__}; is the server running?"
            raise RendererError(message) from error
        if answer.status_code != 200:
            message = f"{url} answers {answer.status_code} to a request for a prompt: {answer.text.strip()[:500]}"
            raise RendererError(message)
        try:
            return answer.json()
        except ValueError as error:
            message = f"{url} answers something that is no JSON: {answer.text[:200]!r}"
            raise RendererError(message) from error

    def cell(self, answer: Any, name: str, kind: type[Any], path: str) -> Any:
        """A field of an answer."""
        value = cast("dict[str, Any]", answer).get(name) if isinstance(answer, dict) else None
        if not isinstance(value, kind):
            message = f"{self.root}{path} answers without {name!r}: it is another kind of server than was thought"
            raise RendererError(message)
        return value

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None
