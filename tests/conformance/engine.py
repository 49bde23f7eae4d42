"""Answers chat completion requests for one server: everything but HTTP."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, cast

from conformance.behaviour import ErrorForm, ServerBehaviour
from conformance.exchange import Exchange
from conformance.faults import ActiveFault, Fault, broken
from conformance.generation import generate
from conformance.ingress import RefusedError, Request, filled, read_request
from conformance.prefix import measure, predecessor
from conformance.rendering import Prompt, render
from conformance.responder import Reply, respond
from conformance.tokens import PrefixCache, Tokens, Vocabulary
from conformance.wire import ResponseWriter

_IMAGE = re.compile(r"<\|vision_start\|>.*?<\|vision_end\|>")


class Engine:
    """One model on one server."""

    def __init__(self, behaviour: ServerBehaviour, faults: Sequence[ActiveFault], script: Sequence[Reply]) -> None:
        self.healthy = behaviour
        self.faults = list(faults)
        self.script = list(script)
        self.journal: list[Exchange] = []
        self.vocabulary = Vocabulary()
        self.cache = PrefixCache()

    def active(self, number: int, *, streamed: bool) -> list[ActiveFault]:
        """The faults that strike chat request `number`."""
        return [fault for fault in self.faults if fault.strikes(number, streamed=streamed)]

    def begin(self, raw: bytes, headers: dict[str, str]) -> tuple[Exchange, list[ActiveFault]]:
        """The journal's entry for a request, and the faults that strike it."""
        number = len(self.journal)
        faults = self.active(number, streamed=_asks_for_stream(raw))
        behaviour = broken(self.healthy, faults)
        exchange = Exchange(number, raw, headers, behaviour, tuple(fault.kind for fault in faults))
        self.journal.append(exchange)
        return exchange, faults

    def answer(self, exchange: Exchange, faults: list[ActiveFault]) -> None:
        """Fill in the exchange: its response or its events."""
        try:
            self._answer(exchange, faults)
        except RefusedError as refused:
            exchange.status, exchange.response = refused.status, refused.body

    def measured(self, exchange: Exchange) -> None:
        """Compare with the exchange that it goes on from."""
        if exchange.request and exchange.prompt and (old := predecessor(self.journal, exchange)):
            exchange.prefix = measure(old, exchange, self.vocabulary.encode)

    def prompt(self, request: Request) -> Prompt:
        """The prompt of a request."""
        return render(request.messages, request.tools, thinking=request.thinking, preserve=request.preserve)

    def tokens(self, prompt: Prompt) -> Tokens:
        """Its tokens."""
        return tuple(chain.from_iterable(self.vocabulary.encode(segment.text) for segment in prompt.segments))

    def error(self, form: ErrorForm, **values: Any) -> tuple[int, Any]:
        """An error as this family words it."""
        return form.status, filled(form.body, values)

    def _answer(self, exchange: Exchange, faults: list[ActiveFault]) -> None:
        kinds = set(exchange.faults)
        behaviour = exchange.behaviour
        request = exchange.request = read_request(exchange.raw, behaviour)
        if Fault.IMAGES_UNSEEN in kinds:
            request = exchange.request = _blinded(request)
        request, prompt, tokens = self._fitted(exchange, request)
        exchange.prompt, exchange.tokens, exchange.prompt_tokens = prompt, tokens, len(tokens)
        self.measured(exchange)
        exchange.cached_tokens = self._cached(tokens, kinds, behaviour)
        reply = self._reply(request, prompt)
        room = max(1, behaviour.context.window - len(tokens))
        if behaviour.context.overflow == "ignored":
            room = 1 << 30
        exchange.generation = generate(reply, request, prompt, room, behaviour, self.vocabulary, faults)
        self.cache.keep(tokens + self.vocabulary.encode(exchange.generation.text))
        exchange.status = 200
        writer = ResponseWriter(exchange, faults)
        if request.stream:
            exchange.events = writer.events()
        else:
            exchange.response = writer.whole()

    def _reply(self, request: Request, prompt: Prompt) -> Reply:
        position = sum(message.role == "assistant" for message in request.messages)
        if position < len(self.script):
            return self.script[position]
        return respond(request, prompt)

    def _cached(self, tokens: Tokens, kinds: set[Fault], behaviour: ServerBehaviour) -> int:
        if Fault.CACHE_NEVER_HITS in kinds:
            return 0
        return self.cache.hit(tokens, behaviour.usage.block, behaviour.usage.least_cached)

    def _fitted(self, exchange: Exchange, request: Request) -> tuple[Request, Prompt, Tokens]:
        """The prompt, made to fit where the family does so in silence. Raises RefusedError."""
        behaviour, context = exchange.behaviour, exchange.behaviour.context
        prompt = self.prompt(request)
        tokens = self.tokens(prompt)
        asked = request.max_tokens or 0
        values = {"prompt_tokens": len(tokens), "window": context.window, "max_tokens": asked}
        values |= {"requested": len(tokens) + asked, "room": context.window - asked, "at_least": context.window + 1}
        if context.overflow == "refused" and len(tokens) >= context.window:
            raise RefusedError(behaviour.errors.overflow, **values)
        if behaviour.output.refused_beyond_window and len(tokens) + asked > context.window:
            raise RefusedError(behaviour.errors.output_cap, **values)
        while context.overflow == "truncated" and len(tokens) >= context.window:
            oldest = next((m for m in request.messages[:-1] if m.role != "system"), None)
            if oldest is None:
                break
            exchange.truncated += 1
            rest = tuple(message for message in request.messages if message is not oldest)
            request = replace(request, messages=rest)
            prompt = self.prompt(request)
            tokens = self.tokens(prompt)
        return request, prompt, tokens


def _blinded(request: Request) -> Request:
    messages = tuple(replace(message, text=_IMAGE.sub("", message.text)) for message in request.messages)
    return replace(request, messages=messages)


def _asks_for_stream(raw: bytes) -> bool:
    try:
        body = json.loads(raw)
    except ValueError:
        return False
    return isinstance(body, dict) and cast("dict[str, object]", body).get("stream") is True
