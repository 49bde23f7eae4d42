"""Other builds, models and set-ups of the families: what their fixtures do not do, and their dialects know.

Each has a source. `variants` are played through in conversations, `pages` are asked what they serve, `wordings`
refuse a prompt that is too long, and `proxies` stand in front of others.
"""

from collections.abc import Mapping
from typing import Any

from conformance.behaviour import Endpoint, ErrorForm, ServerBehaviour, Switch, load_behaviour

CACHE_WRITE = "cache_write"


def variants(dialect: str) -> dict[str, ServerBehaviour]:
    """More servers that a dialect has to get along with, by what is special about them."""
    family = load_behaviour("mlx" if dialect == "omlx" else dialect)
    special = _special(dialect, family)
    # Without a reasoning parser thinking comes inline. Qwen3.8's template reads it in its field alone (its
    # chat_template.jinja has no fallback), as vLLM, SGLang and llama.cpp hand it to it.
    parserless = family.changed("reasoning", emitted_as=None, inline=True, reads_inline=False)
    with_parser = ("vllm", "sglang", "ktransformers", "llama.cpp", "lmstudio", "mlx", "omlx")
    return {**special, "no parser, Qwen3.8": parserless} if dialect in with_parser else special


def _special(dialect: str, family: ServerBehaviour) -> dict[str, ServerBehaviour]:
    match dialect:
        case "vllm":
            # vllm-project/vllm pull 27752 and pull 33402: the field was renamed, and for a while both came
            return {"before pull 27752": family.changed("reasoning", emitted_as=OLD, read_from=(OLD,))}
        case "sglang" | "ktransformers":
            # docs.sglang.io, --mamba-scheduler-strategy extra_buffer: states are kept every 256 tokens
            return {"extra_buffer": family.changed("usage", block=256)}
        case "llama.cpp":
            # observed on a hybrid model: the last checkpoint lies four tokens before the end of an earlier prompt
            return {"hybrid model": family.changed("usage", block=4)}
        case "lmstudio":
            # lmstudio.ai/docs/developer/api-changelog, 0.3.23: gpt-oss thinks in `reasoning`
            # lmstudio-bug-tracker#1913, #2057: in some versions template fields reach the template
            flags = {"thinking": "enable_thinking", "preserve": "preserve_thinking"}
            passing = family.changed("preserve", mode="request")
            for section, flag in flags.items():
                passing = passing.changed(section, switches=(Switch(path=f"chat_template_kwargs.{flag}"),))
            return {
                "passes template fields on": passing,
                "gpt-oss": family.changed("reasoning", emitted_as="reasoning"),
            }
        case "openrouter":
            plain = family.changed("reasoning", details=False, read_from=("reasoning",))
            # openrouter.ai/docs/use-cases/usage-accounting has both places; upstreams count in blocks of up to 1,024
            fields = {"prompt_tokens_details.cache_write_tokens": CACHE_WRITE}
            return {"no details": plain, "cache writes": counting(family, fields), "coarse": coarse(family)}
        case "dashscope":
            # help.aliyun.com/en/model-studio/context-cache, explicit cache
            return {
                "explicit cache": counting(family, {"prompt_tokens_details.cache_creation_input_tokens": CACHE_WRITE})
            }
        case "openai":
            # dotnet/extensions#7635: since GPT-5.6
            return {"cache writes": counting(family, {"prompt_tokens_details.cache_write_tokens": CACHE_WRITE})}
        case "gemini-compat":
            # openai/openai-python#2544, with gemini-2.5-flash
            return {"details": coarse(counting(family, {"prompt_tokens_details.cached_tokens": "cached"}))}
        case "generic":
            return {f"unknown {name}": unblocked(name) for name in ("vllm", "llama.cpp", "sglang")} | {
                # api-docs.deepseek.com/guides/kv_cache; promptfoo#10132 for Moonshot's
                place: counted_at(unblocked("llama.cpp"), place)
                for place in ("prompt_cache_hit_tokens", "cached_tokens")
            }
        case _:
            return {}


OLD = "reasoning_content"

GATEWAYS = ("generic", "openrouter")
"""Dialects of servers behind which others stand, whose refusals come through."""

_BEHIND = ("vllm", "llama.cpp", "sglang", "deepseek", "moonshot", "dashscope", "gemini-compat", "openai")
_SAID = {
    # docs.anthropic.com, errors
    "anthropic": "prompt is too long: {prompt_tokens} tokens > {window} maximum",
    # LM Studio before 0.4, in many reports of its bug tracker
    "lmstudio before 0.4": "The number of tokens to keep from the initial prompt is greater than the context length.",
    # ollama runner, where the request says `truncate: false`
    "ollama": "the input length exceeds the context length",
    # Metal's words, which mlx_lm/server.py passes on
    "mlx": "[METAL] Command buffer execution failed: Insufficient Memory (00000008:kIOGPU…OutOfMemory)",
}
_SAYING = {
    "generic": ("anthropic", "lmstudio before 0.4", "ollama"),
    "openrouter": ("anthropic",),
    "lmstudio": ("lmstudio before 0.4",),
    "ollama": ("ollama",),
    "mlx": ("mlx",),
}


def wordings(dialect: str) -> dict[str, ServerBehaviour]:
    """Servers of that dialect that refuse a prompt in other words than its fixture."""
    family = load_behaviour(dialect).changed("context", overflow="refused")
    forms = {name: ErrorForm(body={"error": {"message": _SAID[name]}}) for name in _SAYING.get(dialect, ())}
    if dialect in GATEWAYS:
        forms |= {name: load_behaviour(name).errors.overflow for name in _BEHIND}
    return {name: family.changed("errors", overflow=form) for name, form in forms.items()}


def pages(dialect: str) -> dict[str, ServerBehaviour]:
    """Servers of that dialect that tell more of themselves, or less."""
    family = load_behaviour(dialect)
    match dialect:
        case "sglang" | "ktransformers":
            # http_server.py: the names with get_ came first; ServerArgs has the settings, model_info the modalities
            settings = {"kv_cache_dtype": "fp8_e4m3", "speculative_algorithm": "EAGLE", "quantization": "fp8"}
            family = telling(telling(family, "/server_info", version="0.5.23"), "/get_server_info", version="0.5.23")
            full = telling(telling(family, "/server_info", **settings), "/model_info", has_image_understanding=True)
            short = telling(family, "/v1/models", data=[{"id": family.model, "owned_by": "sglang"}])
            return {
                "older": without(family, "/server_info", "/model_info"),
                "nothing of its cache": _without_cache(full),
                "newer": without(full, "/get_server_info", "/get_model_info"),
                "small cache": telling(
                    without(short, "/get_server_info"), "/server_info", max_total_num_tokens="{window}"
                ),
                "older, small cache": telling(
                    without(short, "/server_info"), "/get_server_info", max_total_num_tokens="{window}"
                ),
            }
        case "llama.cpp":
            unnamed = family.model_copy(update={"headers": {}})
            return {
                "only its list of models": without(unnamed, "/props"),
                "only its header": telling(without(family, "/props", "/slots"), "/v1/models", data=[]),
                "only /props": telling(unnamed, "/v1/models", data=[]),
            }
        case "lmstudio":
            # lmstudio.ai/docs/developer/rest: v1 replaces v0
            instance = [{"id": family.model, "config": {"context_length": "{window}"}}]
            model = {"key": family.model, "quantization": {"name": "Q4_K_M"}, "loaded_instances": instance}
            v1 = telling(family, "/api/v1/models", models=[{**model, "capabilities": {"vision": True}}])
            return {"v0": without(family, "/api/v1/models"), "v1": without(v1, "/api/v0/models")}
        case "ollama":
            model = {"name": family.model, "digest": "sha256:07d35212591f"}  # ollama docs/api.md
            tagged = telling(family, "/api/tags", models=[model])
            return {"not loaded": without(tagged, "/api/ps"), "no /api/show": without(tagged, "/api/show")}
        case "generic":
            data = [{"id": family.model, "max_model_len": "{window}"}]
            return {"tells its window": telling(family, "/v1/models", data=data)}
        case _:
            return {}


def proxies(dialect: str) -> dict[str, ServerBehaviour]:
    """LiteLLM in front of each family: it is no server of that family any more (docs.litellm.ai/docs/proxy/health)."""
    if dialect != "generic":
        return {}
    families = {name: load_behaviour(name) for name in _LOCAL}
    families["omlx"] = telling(families["mlx"], "/v1/models", data=[{"id": families["mlx"].model, "owned_by": "omlx"}])
    ready = Endpoint(source="docs.litellm.ai", path="/health/readiness", body={"litellm_version": "1.102.0"})
    proxied = {
        f"LiteLLM before {name}": family.model_copy(update={"endpoints": (*family.endpoints, ready)})
        for name, family in families.items()
    }
    headers = {**families["vllm"].headers, "x-litellm-version": "1.102.0"}
    return {**proxied, "LiteLLM without health": families["vllm"].model_copy(update={"headers": headers})}


_LOCAL = ("vllm", "sglang", "llama.cpp", "ollama", "lmstudio", "ktransformers", "mlx", "transformers-serve")


def _without_cache(behaviour: ServerBehaviour) -> ServerBehaviour:
    """One that tells nothing of the size of its cache, nor of what a CPU holds."""
    nothing = dict.fromkeys(("max_total_num_tokens", "kt_method"))
    return telling(telling(behaviour, "/server_info", **nothing), "/get_server_info", **nothing)


def counting(behaviour: ServerBehaviour, fields: Mapping[str, str]) -> ServerBehaviour:
    """The same with more counts."""
    return behaviour.changed("usage", fields={**behaviour.usage.fields, **fields})


def coarse(behaviour: ServerBehaviour) -> ServerBehaviour:
    """The same with a cache of large blocks."""
    return behaviour.changed("usage", block=1024)


def counted_at(behaviour: ServerBehaviour, place: str) -> ServerBehaviour:
    """The same with cached tokens at another place."""
    fields = {path: name for path, name in behaviour.usage.fields.items() if name != "cached"}
    return behaviour.changed("usage", fields={**fields, place: "cached"})


def unblocked(family: str) -> ServerBehaviour:
    """A family whose cache counts single tokens, for a dialect that knows nothing of blocks."""
    return load_behaviour(family).changed("usage", block=1)


def without(behaviour: ServerBehaviour, *paths: str) -> ServerBehaviour:
    """The same without some endpoints."""
    left = tuple(endpoint for endpoint in behaviour.endpoints if endpoint.path not in paths)
    return behaviour.model_copy(update={"endpoints": left})


def telling(behaviour: ServerBehaviour, path: str, **cells: Any) -> ServerBehaviour:
    """The same with other cells in the answer at `path`."""

    def told(endpoint: Endpoint) -> Endpoint:
        changed = endpoint.path == path
        return endpoint.model_copy(update={"body": {**endpoint.body, **cells}}) if changed else endpoint

    return behaviour.model_copy(update={"endpoints": tuple(map(told, behaviour.endpoints))})
