"""How full the model's context is, and what the server's counts say about the prefix that it should have kept.

Counts come from the server where it gives them: the usage of the last turn, or an endpoint that counts. What was
appended since is estimated from its bytes, and said to be an estimate.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agent.conversation import Conversation, encode
from agent.pictures import picture_urls
from results.records.usage import Usage

BYTES_PER_TOKEN = 3.0
"""Code and logs come to 3.0–4.2 bytes a token with byte-pair vocabularies of 150K–250K; the low end never tells too
little. Used for estimates only."""

RESERVED_UNLESS_STATED = 8_192
"""Tokens kept free for a response whose length nobody limited."""

PICTURE_TOKENS = 2_306
"""What a picture is reckoned at: the most that one can take (see `tools.pictures`)."""

_CLOSE = 0.85
"""From this share of the room on, an estimate is not good enough, and an endpoint that counts is asked."""

How = Literal["counted", "usage", "estimate"]


@dataclass(frozen=True)
class Size:
    """The length of the next prompt in tokens, and where the number comes from."""

    tokens: int
    how: How


@dataclass(frozen=True)
class Finding:
    """What a turn's usage says about the prompt: tokens that should be there, or in the cache, and are not."""

    kind: Literal["truncated", "prefix_lost"]
    tokens: int
    text: str


@dataclass
class ContextWindow:
    """The window of one conversation, segment after segment. `window` None: nobody knows it, and it is never full."""

    window: int | None
    max_output: int | None = None
    """The limit on one response, which servers add to the prompt when they check it against the window."""
    cache_block: int = 1
    _usage: Usage | None = field(default=None, init=False)
    _bytes: int = field(default=0, init=False)
    _correction: int = field(default=0, init=False)
    """Tokens by which pictures differ from what their bytes suggest."""

    @property
    def reserved(self) -> int:
        """Tokens that the next response may need."""
        if self.max_output is not None:
            return self.max_output
        return min(RESERVED_UNLESS_STATED, (self.window or 0) // 8)

    @property
    def room(self) -> int | None:
        """The longest prompt that leaves room for a response."""
        return None if self.window is None else max(0, self.window - self.reserved)

    def learn(self, window: int | None) -> None:
        """Take the window that a server named when it refused a prompt, if nobody knew it before."""
        if self.window is None:
            self.window = window

    def begin_segment(self) -> None:
        """Forget the counts of the last conversation."""
        self._usage, self._correction = None, 0

    def see(self, message: Mapping[str, Any]) -> None:
        """Take notice of a message that was appended: a picture is far less than its bytes."""
        self._correction += sum(PICTURE_TOKENS - _tokens(len(url)) for url in picture_urls(message))

    def note(self, usage: Usage, conversation: Conversation) -> Finding | None:
        """Take the usage of the turn that was just appended to `conversation`."""
        before, self._usage, self._bytes = self._usage, usage, conversation.request_bytes
        self._correction = 0
        return None if before is None else self._compare(before, usage)

    def size(self, conversation: Conversation) -> Size:
        """The size of the next prompt."""
        known = self._usage
        if known is None or known.prompt_tokens is None:
            return Size(_tokens(conversation.request_bytes) + self._correction, "estimate")
        appended = _tokens(conversation.request_bytes - self._bytes) + self._correction
        return Size(known.total_tokens + appended, "estimate" if appended else "usage")

    def is_full(self, size: Size) -> bool:
        """Whether a prompt of this size leaves too little room for a response."""
        return self.room is not None and size.tokens > self.room

    def is_close(self, size: Size) -> bool:
        """Whether it is worth an exact count."""
        return self.room is not None and size.how == "estimate" and size.tokens > self.room * _CLOSE

    def left_behind(self, prompt_tokens: int | None, message: Mapping[str, Any]) -> int | None:
        """Tokens for a response to a full prompt and one more message; None where they are too few, or unknown.

        What is reserved for a response is mostly left, and a shorter one will do to say where the work stands.
        """
        if self.window is None or prompt_tokens is None:
            return None
        left = min(self.window - prompt_tokens - _tokens(len(encode(message))), self.reserved)
        return left if left >= max(1, self.reserved // 4) else None

    def _compare(self, before: Usage, now: Usage) -> Finding | None:
        """What became of the last prompt, which the new one begins with.

        A server that counts only what was not in its cache (older builds of Ollama) reports far less than before;
        one that dropped the oldest messages reports somewhat less, since what is left still fills its window.
        """
        if before.prompt_tokens is None or now.prompt_tokens is None:
            return None
        missing = before.prompt_tokens - now.prompt_tokens
        if 0 < missing <= before.prompt_tokens // 2:
            text = (
                f"the server counts {now.prompt_tokens:,} tokens in a prompt that begins with one of "
                f"{before.prompt_tokens:,}: it dropped a part of the conversation in silence"
            )
            return Finding("truncated", missing, text)
        if now.cached_tokens is None or missing > 0:
            return None
        lost = before.prompt_tokens - now.cached_tokens
        if lost <= max(self.cache_block, 1) + 1:
            return None
        text = f"the server had {now.cached_tokens:,} of {before.prompt_tokens:,} known tokens in its cache"
        return Finding("prefix_lost", lost, text)


def _tokens(length: int) -> int:
    return -(-length // int(BYTES_PER_TOKEN)) if length > 0 else 0
