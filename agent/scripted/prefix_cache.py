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

    def process(self, prompt: Tokens, generated: Tokens = b"") -> int:
        """Keep the blocks of a prompt and of what was generated after it.

        Returns how many leading tokens of the prompt were known before: a multiple of 16, and never all of them.
        """
        blocks = _chain(prompt + generated)
        reusable = max(0, len(prompt) - TOKEN_BYTES) // _BLOCK_BYTES
        hits = next((count for count, block in enumerate(blocks[:reusable]) if block not in self._known), reusable)
        # The end of a sequence is useless without its beginning, so the beginning is made the most recent.
        for block in reversed(blocks):
            self._known[block] = None
            self._known.move_to_end(block)
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return hits * BLOCK_TOKENS


def _chain(tokens: Tokens) -> list[int]:
    """The hash of each full block, which stands for the block and all before it."""
    chain: list[int] = []
    parent = 0
    for start in range(0, len(tokens) - _BLOCK_BYTES + 1, _BLOCK_BYTES):
        parent = hash((parent, tokens[start : start + _BLOCK_BYTES]))
        chain.append(parent)
    return chain
