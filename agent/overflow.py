"""How long a refused prompt was and how much would have fit, from the words of the refusal.

The words are those that servers were seen to send, or that their sources and documentation hold (November 2026).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

_NUMBER = r"(\d[\d,]{0,15})"
_PROMPT = (
    rf"request \({_NUMBER} tokens\) exceeds",  # llama.cpp
    rf"passed {_NUMBER} input tokens",  # vLLM
    rf"prompt contains {_NUMBER} (?:input )?tokens",  # vLLM; what it calls "at least" is no length
    rf"The input \({_NUMBER} tokens\)",  # SGLang
    rf"\({_NUMBER} (?:in the messages|of text input)",  # OpenAI and DeepSeek; OpenRouter
    rf"prompt is too long: {_NUMBER} tokens",  # Anthropic
    rf"\(requested: {_NUMBER}\)",  # Moonshot
    rf"input token count \({_NUMBER}\)",  # Gemini
    rf"messages resulted in {_NUMBER} tokens",  # OpenAI
    rf"n_keep \({_NUMBER}\)",  # LM Studio
)
_WINDOW = (
    rf"available context size \({_NUMBER} tokens\)",  # llama.cpp
    rf"context length is (?:only )?{_NUMBER} tokens",  # vLLM, OpenAI, DeepSeek, OpenRouter
    rf"context length (?:of |\(){_NUMBER} tokens",  # SGLang
    rf"> {_NUMBER} maximum",  # Anthropic
    rf"model token limit: {_NUMBER}",  # Moonshot
    rf"tokens allowed \({_NUMBER}\)",  # Gemini
    rf"configured limit of {_NUMBER} tokens",  # OpenAI
    rf"n_ctx \({_NUMBER}\)",  # LM Studio
    rf"length should be \[\d+, {_NUMBER}\]",  # DashScope
)


@dataclass(frozen=True)
class OverflowSize:
    """In tokens; None where the server does not say."""

    prompt: int | None = None
    window: int | None = None


def read_overflow(said: str, body: object) -> OverflowSize:
    """Read the sizes from an error's fields (llama.cpp has them as such), or else from what it says."""
    fields: Mapping[str, Any] = cast("Mapping[str, Any]", body) if isinstance(body, Mapping) else {}
    return OverflowSize(
        prompt=_stated(fields.get("n_prompt_tokens"), said, _PROMPT),
        window=_stated(fields.get("n_ctx"), said, _WINDOW),
    )


def _stated(field: object, said: str, patterns: tuple[str, ...]) -> int | None:
    if isinstance(field, int):
        return field
    found = next((match for pattern in patterns if (match := re.search(pattern, said, re.IGNORECASE))), None)
    return int(found[1].replace(",", "")) if found else None
