"""The cells of dialects that may be wrong and no check notices, each with the reason.

By dialect (`*`: any), then by a pattern for the cell, as `dialect_mutations` names it.
"""

import re
from collections.abc import Mapping

TOLD_TWICE = "another part of the same answer says it as well"
BY_STATUS = "words of refusals that have a status which is not retried anyway; they count where a gateway changes it"
NOT_INLINE = "this service hands no thinking out within the content"
OTHERS_READ_IT = "this server ignores the second name; templates and proxies that read it are other ones"
NOT_SHOWN = "no source shows the place; it is OpenAI's, for builds that follow it"
A_GUARD = "no server that is known shows both signs; a guard for one that answers Ollama's questions as well"

UNNOTICED: Mapping[str, Mapping[str, str]] = {
    "*": {},
    "dashscope": {
        r"reasoning\.inline=keep": NOT_INLINE,
        r"overflow\.patterns\[[12]\] removed": "older wordings of some models, without a source",
        r"failures\.hopeless.*": BY_STATUS,
        r"detection\.hosts\[1\] removed": "hosts of another product with the same API, without a source",
    },
    "deepseek": {
        r"reasoning\.inline=keep": NOT_INLINE,
        r"usage\.cached\[[01]\] removed": TOLD_TWICE,
        r"overflow\.patterns\[1\] removed": "a code that it was not seen to send",
        r"failures\.hopeless.*": BY_STATUS,
    },
    "gemini-compat": {
        r"reasoning\.inline=keep": NOT_INLINE,
        r"reasoning\.sent_inline=True": "there is never any text of thinking to send",
        r"usage\.reasoning\[0\] removed": NOT_SHOWN,
        r"failures\.hopeless.*": BY_STATUS,
    },
    "generic": {
        r"cache_block=1": "the fixture counts every token; what is unknown may count in blocks",
        r"usage\.cache_write\[1\] removed": "of GPT-5.6 and OpenRouter, whose own dialects are tested for it",
        r"failures\.hopeless.*": BY_STATUS,
        r"detection\.before\[[235]\] removed": "mlx, ollama and sglang come behind dialects that it also comes before",
    },
    "ktransformers": {
        r"reasoning\.sent\[1\] removed": OTHERS_READ_IT,
        r"usage\.reasoning\[1\] removed": NOT_SHOWN,
        r"failures\.hopeless.*": BY_STATUS,
        r"detection\.before\[1\] removed": A_GUARD,
    },
    "llama.cpp": {
        r"reasoning\.sent\[1\] removed": OTHERS_READ_IT,
        r"overflow\.patterns\[[01]\] removed": TOLD_TWICE,
        r"failures\.hopeless\[[234]\] removed": "requests that a client of ours cannot make",
        r"detection\.before\[0\] removed": A_GUARD,
        r"counting\.fields\[0\] removed": "one model is served, and a request without its name is for it",
        r"cache_block=1": "the fixture's cache holds the answer as well, so that a checkpoint is never missed",
    },
    "lmstudio": {
        r"reasoning\.sent\[1\] removed": OTHERS_READ_IT,
        r"usage\.cached\[0\] removed": "no version was seen to tell it",
        r"overflow\.patterns\[[01]\] removed": TOLD_TWICE,
        r"overflow\.patterns\[3\] removed": "a wording of old versions, which continues another one",
        r"failures\.hopeless.*": BY_STATUS,
        r"detection\.before\[0\] removed": A_GUARD,
    },
    "mlx": {
        r"reasoning\.sent\[1\] removed": "Qwen's template reads the first; others may read the second",
        r"overflow\.patterns\[1\] removed": "words of an operating system, not of a server",
        r"failures\.hopeless.*": BY_STATUS,
    },
    "moonshot": {
        r"reasoning\.inline=keep": NOT_INLINE,
        r"usage\.(cached\[1\]|reasoning\[0\]) removed": NOT_SHOWN,
        r"behaviours\[2\] removed": "reports differ on an empty content (kimi-cli#2621, litellm#42186)",
        r"failures\.hopeless.*": BY_STATUS,
    },
    "ollama": {
        r"reasoning\.inline=keep": "its renderers split thinking off whenever a model thinks",
        r"overflow\.patterns\[1\] removed": "of a runner that is llama.cpp's",
        r"failures\.hopeless.*": BY_STATUS,
    },
    "openai": {
        r"reasoning\.inline=keep": NOT_INLINE,
        r"reasoning\.sent_inline=True": "there is never any text of thinking to send",
        r"overflow\.patterns\[[12]\] removed": TOLD_TWICE,
        r"failures\.hopeless.*": BY_STATUS,
    },
    "openrouter": {
        r"reasoning\.inline=keep": NOT_INLINE,
        r"reasoning\.received\[1\] removed": "an alias of the first for the clients of others",
        r"failures\.hopeless.*": BY_STATUS,
    },
    "sglang": {
        r"reasoning\.sent\[1\] removed": OTHERS_READ_IT,
        r"usage\.reasoning\[1\] removed": NOT_SHOWN,
        r"failures\.hopeless.*": BY_STATUS,
        r"detection\.before\[0\] removed": A_GUARD,
    },
    "transformers-serve": {
        r"reasoning\.inline=keep": "what it splits off goes back inline either way",
        r"failures\.hopeless.*": BY_STATUS,
        r"detection\.signs\[0\] removed": "another sign of the same versions",
    },
    "vllm": {
        r"overflow\.patterns\[[23]\] removed": "older wordings, of which one message holds both",
        r"failures\.hopeless.*": BY_STATUS,
        r"counting\.fields\[0\] removed": "one model is served, and a request without its name is for it",
    },
}


def reason(dialect: str, cell: str) -> str | None:
    """Why nobody notices that a cell is wrong; None for one that has to be noticed."""
    rules = {**UNNOTICED["*"], **UNNOTICED.get(dialect, {})}
    return next((why for pattern, why in rules.items() if re.fullmatch(pattern, cell)), None)
