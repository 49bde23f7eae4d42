"""What a prefix-caching server would have in its cache, so that lost prefixes show.

The rules are vLLM's (its design note "Automatic Prefix Caching"): tokens are cached in full blocks of 16, a block is
known by the hash of its tokens and of the block before it, and the last token of a prompt is always computed anew.
So a change of one early token makes everything after it unknown.
"""

from collections import OrderedDict
from typing import TypeAlias

BLOCK_TOKENS = 16
TOKEN_BYTES = 8

Tokens: TypeAlias = bytes
"""Tokens, each a number of 8 bytes; only whether two are equal means something."""

_BLOCK_BYTES = BLOCK_TOKENS * TOKEN_BYTES


class PrefixCache:
    """The blocks that have been seen, at most `capacity` of them; what was used longest ago goes first."""

    def __init__(self, capacity: int = 131_072) -> None:
        self._capacity = capacity
        self._known: OrderedDict[int, None] = OrderedDict()

    def cached_tokens(self, prompt: Tokens) -> int:
        """How many leading tokens of `prompt` are known: a multiple of 16, and never all of them."""
        blocks = 0
        for block in _chain(prompt[:-TOKEN_BYTES]):
            if block not in self._known:
                break
            blocks += 1
        return blocks * BLOCK_TOKENS

    def add(self, tokens: Tokens) -> None:
        """Keep every full block of `tokens`: a prompt, or a prompt and what was generated after it."""
        # The end of a sequence is useless without its beginning, so the beginning is made the most recent.
        for block in reversed(_chain(tokens)):
            self._known[block] = None
            self._known.move_to_end(block)
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)


def _chain(tokens: Tokens) -> list[int]:
    """The hash of each full block, which stands for the block and all before it."""
    chain: list[int] = []
    parent = 0
    for start in range(0, len(tokens) - _BLOCK_BYTES + 1, _BLOCK_BYTES):
        parent = hash((parent, tokens[start : start + _BLOCK_BYTES]))
        chain.append(parent)
    return chain
