"""Plays a script: which reply answers a request, what it counts, which fault stands before it.

Position is never remembered: reply n answers a request that holds n - 1 assistant messages, so clients may run side
by side, resume, and repeat. What is remembered: the prefix cache, how often a fault was met, and the journal.
"""

import asyncio
import hashlib
from collections import Counter, deque
from dataclasses import dataclass

from agent.scripted.prefix_cache import PrefixCache
from agent.scripted.rendering import Prompt, Renderer
from agent.scripted.script import HttpFault, Reply, Script, ScriptedConversation, StallFault, StreamBreak
from agent.scripted.wire import ChatRequest, ReplyWriter, RequestError, Usage

JOURNAL_LENGTH = 20_000
"""Requests that are remembered; older ones are only counted."""


@dataclass
class JournalEntry:
    """What became of one chat completion request. Times are seconds of this machine's monotonic clock."""

    arrived: float
    """Its headers had come."""
    received: float | None = None
    """Its body had come as well."""
    first_byte: float | None = None
    """The headers of the response were about to be sent."""
    last_byte: float | None = None
    """The last bytes of the response were about to be sent; None while it runs, and if it never came to that."""
    status: int | None = None
    stream: bool = False
    conversation: str | None = None
    reply_number: int | None = None
    messages: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    body_bytes: int = 0
    body_sha256: str | None = None


@dataclass(frozen=True)
class Answer:
    """A reply ready to be sent: everything is computed before the first byte, nothing is left to do after the last."""

    writer: ReplyWriter
    broken: StreamBreak | None
    """How the response is to break half-way, if it is."""


class Player:
    """Plays one script, for one event loop."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.journal: deque[JournalEntry] = deque(maxlen=JOURNAL_LENGTH)
        self.requests = 0
        self._renderer = Renderer()
        self._cache = PrefixCache()
        self._faults_met: Counter[tuple[str, str, int]] = Counter()
        self._closing = asyncio.Event()

    def begin(self, arrived: float) -> JournalEntry:
        """The journal's entry for a request that has just arrived."""
        entry = JournalEntry(arrived)
        self.journal.append(entry)
        self.requests += 1
        return entry

    async def answer(self, chat: ChatRequest, entry: JournalEntry) -> Answer:
        """The answer to `chat`, after the faults that stand before it. Raises RequestError for an error to send."""
        number = chat.reply_number
        entry.stream, entry.messages, entry.reply_number = chat.stream, len(chat.messages), number
        conversation, first_user_message = self._conversation(chat)
        entry.conversation = conversation.label
        broken = await self._meet_faults(conversation, first_user_message, number)
        prompt = self._renderer.prompt(chat)
        entry.prompt_tokens = prompt.count
        self._refuse_overflow(prompt.count)
        reply = conversation.reply(number)
        if reply is None:
            message = f"The script {self.script.scripted!r} has no reply number {number} for {conversation.label}."
            raise RequestError(message)
        usage = self._count(prompt, reply, is_whole=broken is None)
        entry.cached_tokens, entry.completion_tokens = usage.cached, usage.completion
        writer = ReplyWriter(
            reply if prompt.thinking else reply.model_copy(update={"reasoning": ""}),
            usage,
            model=self.script.model,
            reasoning_field=self.script.reasoning_field,
            seed=f"{self.script.scripted}/{conversation.label}/{number}",
        )
        return Answer(writer, broken)

    async def pause(self, seconds: float) -> None:
        """Wait. Raises RequestError as soon as the server closes."""
        if not self._closing.is_set():
            if seconds <= 0:
                return
            try:
                async with asyncio.timeout(seconds):
                    await self._closing.wait()
            except TimeoutError:
                return
        raise RequestError("The scripted backend is shutting down.", status=503)

    def close(self) -> None:
        """End every pause, so that open responses end. To be called on the event loop."""
        self._closing.set()

    def _conversation(self, chat: ChatRequest) -> tuple[ScriptedConversation, str]:
        first_user_message = next((message.text for message in chat.messages if message.role == "user"), "")
        conversation = self.script.conversation_for(first_user_message)
        if conversation is None:
            message = (
                f"The script {self.script.scripted!r} has no conversation for the first user message, "
                f"which begins {first_user_message[:200]!r}."
            )
            raise RequestError(message)
        return conversation, first_user_message

    async def _meet_faults(
        self, conversation: ScriptedConversation, first_user_message: str, number: int
    ) -> StreamBreak | None:
        """Play the faults that are still due before reply `number`; how its response is to break, if it is."""
        task = hashlib.sha256(first_user_message.encode()).hexdigest()
        for place, entry in conversation.faults_before(number):
            key = (conversation.label, task, place)
            if self._faults_met[key] >= entry.times:
                continue
            self._faults_met[key] += 1
            match entry.fault:
                case HttpFault() as fault:
                    raise RequestError(fault.message, status=fault.status, retry_after=fault.retry_after)
                case StallFault() as fault:
                    await self.pause(fault.stall)
                case fault:
                    return fault.break_stream
        return None

    def _refuse_overflow(self, prompt_tokens: int) -> None:
        window = self.script.context_window
        if prompt_tokens >= window:
            message = (
                f"This model's maximum context length is {window} tokens. However, your prompt contains "
                f"{prompt_tokens} input tokens. Please reduce the length of the messages."
            )
            raise RequestError(
                message,
                code="context_length_exceeded",
                n_prompt_tokens=prompt_tokens,
                n_ctx=window,
            )

    def _count(self, prompt: Prompt, reply: Reply, *, is_whole: bool) -> Usage:
        """The usage of the exchange, which is in the cache from here on."""
        generation = self._renderer.generation(reply, prompt)
        cached = self._cache.process(prompt.tokens, generation.tokens if is_whole else b"")
        return Usage(prompt.count, cached, generation.count, generation.reasoning_count)
