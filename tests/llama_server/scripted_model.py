"""Models that play back a script on the real llama.cpp server: valid GGUF files of some megabytes, made in a second.

A model says reply 1 to a prompt that holds none of its replies, and after that the reply which follows the latest one
that stands in the prompt; past the end it repeats the last one. Thinking or not, user messages in between, results
of tools of any length: all that makes no difference. `docs/real-llama-server.md` says more, and where it ends.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from llama_server import weights
from llama_server.gguf_file import Matrix, Value, write_gguf
from llama_server.pieces import CALL, LINE_END, MARKUP, THINKING_ENDS, TURN_BEGINS, TURN_ENDS, Pieces, cut_all
from llama_server.replies import Reply
from llama_server.vocabulary import Vocabulary
from llama_server.weights import Due, Mark, Playback

Architecture = Literal["qwen3", "qwen35"]
"""`qwen3` is dense attention; `qwen35` is a hybrid: Gated DeltaNet layers, whose state cannot be rolled back."""

CONTEXT = 262_144
CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")
_SHORTEST_MARK = 5
_CONTROL = (TURN_BEGINS, TURN_ENDS, "<|endoftext|>")
_EPSILON = 1e-6
_FEED_FORWARD = 32
_CONVOLUTION, _STATE, _VALUE_HEADS = 4, 32, 2


@dataclass(frozen=True)
class _Scene:
    """A reply in pieces."""

    reply: Reply
    pieces: Pieces
    forgetful: "_Scene | None" = None


def write_scripted_model(
    path: Path,
    replies: Sequence[Reply],
    *,
    template: str | None = None,
    architecture: Architecture = "qwen3",
    piece_length: int = 12,
) -> None:
    """Write a model that says `replies`. Pieces are what it streams, and the unit in which `max_tokens` counts.

    Raises CannotCutError for replies that cannot be told apart.
    """
    template = CHAT_TEMPLATE.read_text("utf-8") if template is None else template
    scenes = _scenes(replies, piece_length)
    vocabulary = Vocabulary(corpus=template + Path(__file__).with_name("weights.py").read_text("utf-8"))
    vocabulary.add(_CONTROL, control=True)
    vocabulary.add(token for token in MARKUP if token not in _CONTROL)
    for scene in scenes:
        for each in _versions(scene):
            vocabulary.add(piece for part in each.pieces for piece in part)
        vocabulary.add([scene.reply.cue] if scene.reply.cue else [])
    playback = _playback(scenes, vocabulary)
    write_gguf(
        path,
        {**_metadata(architecture), **_tokenizer(vocabulary), "tokenizer.chat_template": template},
        _tensors(architecture, playback),
    )


def _scenes(replies: Sequence[Reply], piece_length: int) -> list[_Scene]:
    if not replies:
        raise ValueError("a script needs at least one reply")
    for reply in replies:
        if reply.forgetful and not (reply.reasoning and reply.forgetful.reasoning):
            raise ValueError("a forgetful reply and the one that it stands in for are told apart by what they think")
    texts = [each.texts for reply in replies for each in (reply, reply.forgetful) if each]
    cut = iter(cut_all(texts, piece_length))
    return [
        _Scene(reply, next(cut), _Scene(reply.forgetful, next(cut)) if reply.forgetful else None) for reply in replies
    ]


def _versions(scene: _Scene) -> list[_Scene]:
    return [scene.forgetful, scene] if scene.forgetful else [scene]


def _playback(scenes: Sequence[_Scene], vocabulary: Vocabulary) -> Playback:
    number = vocabulary.number
    steps = (step for scene in scenes for each in _versions(scene) for step in _steps(each.pieces))
    follows = {number(token): number(successor) for token, successor in steps}
    marks = _marks(scenes, vocabulary)
    if max(mark.part_rank for mark in marks.values()) > weights.MOST_RANKS or len(vocabulary) > weights.MOST_TOKENS:
        message = f"the script is too long: {len(scenes)} replies, {len(vocabulary)} tokens"
        raise ValueError(message)
    openers = number(LINE_END), number(THINKING_ENDS), number(CALL)
    return Playback(len(vocabulary), number(TURN_ENDS), openers, follows, marks)


def _steps(pieces: Pieces) -> Iterator[tuple[str, str]]:
    """Which token follows which, where that is always the same."""
    tokens = pieces.tokens
    openers = (THINKING_ENDS, CALL)
    return ((token, after) for token, after in itertools.pairwise(tokens) if token not in openers)


def _marks(scenes: Sequence[_Scene], vocabulary: Vocabulary) -> dict[int, Mark]:
    def opening(scene: _Scene) -> Due:
        return _due(scene.pieces, vocabulary)

    marks = {vocabulary.number(TURN_BEGINS): Mark(1, 1, opening(scenes[0]))}
    ranks = itertools.count(2)
    for place, scene in enumerate(scenes):
        goes_on = place + 1 < len(scenes) and scenes[place + 1].reply.cue is None
        after = scenes[place + 1] if goes_on else scene
        thinks, speaks, calls = opening(after)
        forgets = opening(after.forgetful)[0] if after.forgetful else thinks
        if scene.reply.cue:
            rank = next(ranks)
            marks[vocabulary.number(scene.reply.cue)] = Mark(rank, rank, opening(scene))
        for each in _versions(scene):
            _, own_speech, own_calls = opening(each)
            first, second, third = next(ranks), next(ranks), next(ranks)
            told = [
                (each.pieces.thought, Mark(third, first, (thinks, own_speech, own_calls))),
                (each.pieces.spoken, Mark(first, second, (forgets, speaks, own_calls or calls))),
                (each.pieces.called, Mark(first, third, (forgets, speaks, calls))),
            ]
            marks |= {
                vocabulary.number(part[0]): mark for part, mark in told if part and len(part[0]) >= _SHORTEST_MARK
            }
    return marks


def _due(pieces: Pieces, vocabulary: Vocabulary) -> Due:
    """The first tokens of a reply's parts."""
    called = [CALL] if pieces.called else []
    return (
        vocabulary.number([*pieces.thought, THINKING_ENDS][0]),
        vocabulary.number([*pieces.spoken, *called, TURN_ENDS][0]),
        vocabulary.number(pieces.called[0]) if pieces.called else None,
    )


def _metadata(architecture: Architecture) -> dict[str, Value]:
    sizes: dict[str, Value] = {
        "context_length": CONTEXT,
        "embedding_length": weights.WIDTH,
        "feed_forward_length": _FEED_FORWARD,
        "block_count": len(_layers(architecture)),
        "attention.head_count": weights.OPENER_COUNT,
        "attention.head_count_kv": 1,
        "attention.key_length": weights.HEAD,
        "attention.value_length": weights.HEAD,
        "attention.layer_norm_rms_epsilon": _EPSILON,
        "rope.freq_base": weights.ROPE_BASE,
    }
    if architecture == "qwen35":
        sizes |= {
            "rope.dimension_count": weights.HEAD,
            "rope.dimension_sections": [11, 11, 10, 0],
            "full_attention_interval": len(_layers(architecture)),
            "ssm.conv_kernel": _CONVOLUTION,
            "ssm.state_size": _STATE,
            "ssm.group_count": 1,
            "ssm.time_step_rank": _VALUE_HEADS,
            "ssm.inner_size": _VALUE_HEADS * _STATE,
        }
    general: dict[str, Value] = {
        "general.architecture": architecture,
        "general.name": "scripted",
        "general.file_type": 0,
    }
    return general | {f"{architecture}.{key}": value for key, value in sizes.items()}


def _tokenizer(vocabulary: Vocabulary) -> dict[str, Value]:
    return vocabulary.metadata() | {
        "tokenizer.ggml.eos_token_id": vocabulary.number(TURN_ENDS),
        "tokenizer.ggml.bos_token_id": vocabulary.number("<|endoftext|>"),
        "tokenizer.ggml.padding_token_id": vocabulary.number("<|endoftext|>"),
    }


def _layers(architecture: Architecture) -> list[dict[str, Matrix]]:
    if architecture == "qwen3":
        return [{**weights.attention(), "ffn_norm": _ones(weights.WIDTH)}]
    post = {"post_attention_norm": _ones(weights.WIDTH)}
    return [*({**_delta_net(), **post} for _ in range(3)), {**weights.attention(gated=True), **post}]


def _delta_net() -> dict[str, Matrix]:
    """A Gated DeltaNet layer that keeps a state of everything it has read, and says nothing about it."""
    random = np.random.default_rng(0)
    keys_and_values = (2 + _VALUE_HEADS) * _STATE

    def some(*shape: int) -> Matrix:
        return random.normal(0, 0.05, shape).astype(np.float32)

    return {
        "attn_qkv": some(keys_and_values, weights.WIDTH),
        "attn_gate": some(_VALUE_HEADS * _STATE, weights.WIDTH),
        "ssm_conv1d": some(keys_and_values, _CONVOLUTION),
        "ssm_dt.bias": some(_VALUE_HEADS),
        "ssm_a": -np.ones(_VALUE_HEADS, np.float32),
        "ssm_beta": some(_VALUE_HEADS, weights.WIDTH),
        "ssm_alpha": some(_VALUE_HEADS, weights.WIDTH),
        "ssm_norm": _ones(_STATE),
        "ssm_out": np.zeros((weights.WIDTH, _VALUE_HEADS * _STATE), np.float32),
    }


def _tensors(architecture: Architecture, playback: Playback) -> dict[str, Matrix]:
    tensors = {
        "token_embd.weight": weights.embeddings(playback),
        "output_norm.weight": _ones(weights.WIDTH),
        "output.weight": weights.output(playback),
    }
    nothing = {
        "attn_norm": _ones(weights.WIDTH),
        "ffn_gate": np.zeros((_FEED_FORWARD, weights.WIDTH), np.float32),
        "ffn_up": np.zeros((_FEED_FORWARD, weights.WIDTH), np.float32),
        "ffn_down": np.zeros((weights.WIDTH, _FEED_FORWARD), np.float32),
    }
    for number, layer in enumerate(_layers(architecture)):
        for name, tensor in {**nothing, **layer}.items():
            suffix = "" if name in ("ssm_a", "ssm_dt.bias") else ".weight"
            tensors[f"blk.{number}.{name}{suffix}"] = tensor
    return tensors


def _ones(size: int) -> Matrix:
    return np.ones(size, np.float32)
