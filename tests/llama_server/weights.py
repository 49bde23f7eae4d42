"""The hand-set weights of a scripted model: which token follows which, as matrices that any transformer can have.

The residual stream (64 + 3 numbers) has named places instead of learned features:

- NEXT: the name of the token that comes next. A name is the token's number in binary, each bit as +1 or -1, so that
  the output matrix, which holds every token's own name, gives the right token 15 and any other at most 13 (times a
  factor that makes this a gap of 100 logits: sampling at any temperature takes the right one).
- Inside a reply a token occurs nowhere else, so its embedding holds the name of its successor: the model is a table.
- Three tokens do not know what comes next, because it depends on which reply is due: the line end behind `<think>`,
  the end of thinking, and `<tool_call>`. They are the OPENERS, and there NEXT is empty.
- What is due is told by the *latest* part of a reply that stands in the prompt. The first piece of every part is a
  MARK: it has a rank (the later it is said, the higher) and, for each opener, the name of the token that is due when
  this mark is the highest one. One attention head per opener asks for the highest rank, with a query so strong that
  the softmax is a maximum: 16 logits for each step of rank. What comes back is a name, and goes to NEXT. For any other
  token the heads ask for one that is silent (no mark), and get nothing.

So there is no counting and no position in it, and reply 2 is told from reply 1 exactly as well as reply 600 from 599:
a rank is a whole number up to 2048, which even the 16-bit floats of a KV cache hold exactly.

A mark has two ranks. Within a turn what is thought comes before what is spoken and called; but where a turn begins,
the thinking of the turn before is the highest, so that a model can tell whether it was kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from llama_server.gguf_file import Matrix

MOST_RANKS = 2048
"""Beyond it 16-bit floats have no whole numbers."""
MOST_TOKENS = 2**15

Due: TypeAlias = tuple["int | None", "int | None", "int | None"]
"""Numbers of tokens, one for each opener: what is thought, spoken and called."""

WIDTH = 96
HEAD = 64
OPENER_COUNT = 3

_BITS = 15
_NEXT = slice(0, _BITS)
_DUE = [slice(_BITS * (part + 1), _BITS * (part + 2)) for part in range(OPENER_COUNT)]
_TURN_RANK, _PART_RANK, _REST, _SILENT, _OPENS, _OPENS_NOTHING = 60, 61, 62, 63, 64, 67
# RoPE turns a head's places by angles; with a base of 10^12 those of the last places before the middle stay at zero.
_REST_SLOT, _SILENT_SLOT, _TURN_SLOT, _PART_SLOT = 28, 29, 30, 31
_RANK_SLOTS = (_TURN_SLOT, _PART_SLOT, _PART_SLOT)
ROPE_BASE = 1e12

_KEY_LENGTH = MOST_RANKS * 2**0.5  # both ranks of a mark fit in
_QUERY = 16.0
_SILENT_KEY = 0.25
_OUTPUT = 40.0


@dataclass(frozen=True)
class Mark:
    """What a token tells about what is due."""

    turn_rank: int
    """Which mark counts where a turn begins to think."""
    part_rank: int
    """Which mark counts everywhere else."""
    due: Due
    """The tokens that come next behind the three openers."""


@dataclass(frozen=True)
class Playback:
    """What the weights have to know, all of it as numbers of tokens."""

    size: int
    end: int
    """The token that ends a turn; it follows where nothing else is known."""
    openers: tuple[int, int, int]
    follows: Mapping[int, int]
    marks: Mapping[int, Mark]


def embeddings(playback: Playback) -> Matrix:
    """What each token brings with it."""
    table = _zeros(playback.size, WIDTH)
    table[:, _NEXT] = _name(playback.end)
    for token, successor in playback.follows.items():
        table[token, _NEXT] = _name(successor)
    table[:, _OPENS_NOTHING] = 1
    for part, token in enumerate(playback.openers):
        table[token, _NEXT] = 0
        table[token, _OPENS_NOTHING] = 0
        table[token, _OPENS + part] = 1
    table[:, _SILENT] = 1
    for token, mark in playback.marks.items():
        table[token, _SILENT] = 0
        # Qwen3's K-norm takes a key's length away, so a rank is a direction: a share of a vector of constant length.
        turn, part = mark.turn_rank / _KEY_LENGTH, mark.part_rank / _KEY_LENGTH
        table[token, [_TURN_RANK, _PART_RANK, _REST]] = turn, part, np.sqrt(1 - turn**2 - part**2)
        for place, due in zip(_DUE, mark.due, strict=True):
            if due is not None:
                table[token, place] = _name(due)
    return table


def output(playback: Playback) -> Matrix:
    """Every token that is ever said, with its own name."""
    due = {token for mark in playback.marks.values() for token in mark.due if token is not None}
    table = _zeros(playback.size, WIDTH)
    for token in {playback.end, *playback.follows.values(), *due}:
        table[token, _NEXT] = _OUTPUT * _name(token)
    return table


def attention(*, gated: bool = False) -> dict[str, Matrix]:
    """The heads that find the latest reply. `gated`: with room for Qwen3.5's output gate, which stays half open."""
    room = 2 * HEAD if gated else HEAD
    query = _zeros(OPENER_COUNT * room, WIDTH)
    for head in range(OPENER_COUNT):
        others = [_OPENS + other for other in range(OPENER_COUNT) if other != head]
        query[head * room + _RANK_SLOTS[head], _OPENS + head] = 1
        query[head * room + _SILENT_SLOT, [_OPENS_NOTHING, *others]] = 1
    key = _zeros(HEAD, WIDTH)
    key[[_TURN_SLOT, _PART_SLOT, _REST_SLOT, _SILENT_SLOT], [_TURN_RANK, _PART_RANK, _REST, _SILENT]] = 1
    value = _zeros(HEAD, WIDTH)
    back = _zeros(WIDTH, OPENER_COUNT * HEAD)
    for head, place in enumerate(_DUE):
        slots = np.arange(head * _BITS, (head + 1) * _BITS)
        value[slots, np.arange(place.start, place.stop)] = 1
        back[np.arange(_BITS), head * HEAD + slots] = 1
    # RMS-norm makes a unit vector as long as the root of its size; attention divides a product by the same root.
    root = np.sqrt(HEAD)
    key_norm = np.full(HEAD, _KEY_LENGTH / root, np.float32)
    key_norm[_SILENT_SLOT] = _SILENT_KEY
    return {
        "attn_q": query,
        "attn_k": key,
        "attn_v": value,
        "attn_output": back,
        "attn_q_norm": np.full(HEAD, _QUERY, np.float32),
        "attn_k_norm": key_norm,
    }


def _name(token: int) -> Matrix:
    return np.array([1 if token >> bit & 1 else -1 for bit in range(_BITS)], np.float32)


def _zeros(*shape: int) -> Matrix:
    return np.zeros(shape, np.float32)
