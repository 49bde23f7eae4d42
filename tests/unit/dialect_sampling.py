"""Which sampling parameters each server family takes, as its documentation or source says: no other table is asked.

The fixtures of the conformance servers know only what is refused; what is taken and does nothing stands here.
"""

from collections.abc import Mapping
from typing import Any

ALL: Mapping[str, Any] = {
    "temperature": 0.6,
    "top_p": 0.95,
    "top_k": 20,
    "min_p": 0.01,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.1,
    "repetition_penalty": 1.05,
}
"""By our names, with values that are no server's defaults."""

Names = Mapping[str, str]
"""Our name to the family's own."""


def _both(names: Names) -> tuple[Names, Names]:
    return names, names


def _takes(*names: str, **spelled: str) -> Names:
    return {**dict(zip(names, names, strict=True)), **spelled}


_OPENAI = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
_EVERYTHING = _takes(*ALL)
_NOTHING: Names = {}

TAKEN: Mapping[str, tuple[Names, Names]] = {
    # docs.vllm.ai, OpenAI-compatible server, extra parameters of chat completions
    "vllm": (_EVERYTHING, _EVERYTHING),
    # sglang entrypoints/openai/protocol.py, ChatCompletionRequest
    "sglang": (_EVERYTHING, _EVERYTHING),
    "ktransformers": (_EVERYTHING, _EVERYTHING),
    # llama.cpp tools/server/README.md
    "llama.cpp": _both(_takes(*_OPENAI, "top_k", "min_p", repetition_penalty="repeat_penalty")),
    # ollama openai/openai.go, struct ChatCompletionRequest
    "ollama": (_takes(*_OPENAI), _takes(*_OPENAI)),
    # lmstudio.ai/docs/developer/openai-compat/chat-completions, supported payload parameters
    "lmstudio": _both(_takes(*_OPENAI, "top_k", repetition_penalty="repeat_penalty")),
    # mlx_lm/server.py, do_POST
    "mlx": (_EVERYTHING, _EVERYTHING),
    # transformers/cli/serving/utils.py: what CompletionCreateParams knows without UNUSED_CHAT_COMPLETION_FIELDS
    "transformers-serve": _both(_takes("temperature", "top_p", "frequency_penalty")),
    # Model Studio's reference of the OpenAI-compatible API
    "dashscope": _both(_takes(*_OPENAI, "top_k", "repetition_penalty")),
    # openrouter.ai/docs/api-reference/parameters
    "openrouter": (_EVERYTHING, _EVERYTHING),
    # api-docs.deepseek.com/api/create-chat-completion; guides/thinking_mode for what has no effect while it thinks
    "deepseek": (_takes(*_OPENAI), _takes("top_p")),
    # platform.kimi.ai/docs: fixed by the platform
    "moonshot": (_NOTHING, _NOTHING),
    # platform.openai.com/docs/guides/reasoning: not supported by models that think
    "openai": (_takes(*_OPENAI), _NOTHING),
    # ai.google.dev/gemini-api/docs/openai; SkyrimNet-GamePlugin#77 for the penalties
    "gemini-compat": _both(_takes("temperature", "top_p")),
    # nobody says: everything is tried
    "generic": (_EVERYTHING, _EVERYTHING),
}
"""Without thinking, and with it."""

SEEDED = ("vllm", "sglang", "ktransformers", "llama.cpp", "ollama", "lmstudio", "mlx", "dashscope", "openrouter")
"""Families that take `seed`, by the sources above. OpenAI's is given up, and models that think have none."""

WITHOUT_TEMPLATE_FIELDS = ("ollama", "openai", "gemini-compat")
"""Families that ignore or refuse `chat_template_kwargs` (ollama#16240; unknown parameters are 400 with the others)."""
