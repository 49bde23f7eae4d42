"""What a dialect promises of how a server is recognised, and of what it tells about itself.

As in `dialect_checks`, what is expected comes from the server's fixture; a check that does not hold is an
AssertionError.
"""

import json
import socket
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import pytest
from conformance.server import ConformanceServer

from agent.dialects import detection
from agent.dialects.asking import Server
from agent.dialects.dialect import Dialect
from agent.dialects.registry import all_dialects
from agent.dialects.served import ask_served

HOSTS: Mapping[str, tuple[str, ...]] = {
    # help.aliyun.com/en/model-studio, base URLs of the regions
    "dashscope": ("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "dashscope-us.aliyuncs.com"),
    "openrouter": ("openrouter.ai",),  # openrouter.ai/docs/quickstart
    "deepseek": ("api.deepseek.com",),  # api-docs.deepseek.com
    "moonshot": ("api.moonshot.ai", "api.moonshot.cn", "api.kimi.com"),  # platform.kimi.ai/docs; kimi-cli#2035
    "openai": ("api.openai.com", "one.openai.azure.com"),  # learn.microsoft.com/azure/ai-services/openai/reference
    # ai.google.dev/gemini-api/docs/openai; cloud.google.com/vertex-ai, OpenAI compatibility
    "gemini-compat": ("generativelanguage.googleapis.com", "us-central1-aiplatform.googleapis.com"),
}
"""Services are recognised by their names alone; other families by what their servers show, wherever they are."""


async def check_detection(server: ConformanceServer, dialect: Dialect) -> None:
    """Of all dialects it is this one that the server is recognised as."""
    others = [other for other in all_dialects() if other.name != dialect.name]
    for host in HOSTS.get(server.behaviour.family, ("127.0.0.1",)):
        asked = Server(server.url.replace("127.0.0.1", host))
        for order in ([dialect, *others], [*others, dialect]):
            with pytest.MonkeyPatch.context() as patch, names_of_this_machine():
                patch.setattr(detection, "all_dialects", partial(list[Dialect], order))
                found = detection.detect(asked)
            assert found.name == dialect.name, found


@contextmanager
def names_of_this_machine() -> Generator[None]:
    """Every host name means this machine, so that a service is reached under its own name."""
    resolve = socket.getaddrinfo

    def here(_: str, *more: Any, **named: Any) -> Any:
        return resolve("127.0.0.1", *more, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", here)
        for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            patch.delenv(variable, raising=False)
        yield


async def check_served(server: ConformanceServer, dialect: Dialect) -> None:
    """What the server tells of itself is found, wherever it tells it, and nothing else."""
    facts = vars(ask_served(Server(server.url), dialect, server.behaviour.model))
    bodies = {endpoint.path: endpoint.body for endpoint in server.behaviour.endpoints}
    told = {name: at(bodies) for name, at in TOLD.get(server.behaviour.family, {}).items()}
    window = server.behaviour.context.window if "{window}" in json.dumps(list(bodies.values())) else None
    expected = {"context_window": window, **told}
    assert {name: value for name, value in facts.items() if value is not None} == {
        name: value for name, value in expected.items() if value is not None
    }


Bodies = Mapping[str, Any]


def _at(*places: tuple[str, str]) -> Callable[[Bodies], Any]:
    """What stands at the first of these places (an endpoint, and a path in its answer) that there is."""

    def read(bodies: Bodies) -> Any:
        values = (_within(bodies.get(endpoint), path.split(".")) for endpoint, path in places)
        return next((value for value in values if value is not None), None)

    return read


def _within(value: Any, path: list[str]) -> Any:
    for key in path:
        if isinstance(value, list):
            elements = cast("list[Any]", value)
            value = elements[int(key)] if elements else None
        else:
            value = cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None
    return value.replace("{model}", QWEN) if isinstance(value, str) else value


QWEN = "Qwen/Qwen3.6-35B-A3B"
SGLANG = {
    "version": _at(("/server_info", "version"), ("/get_server_info", "version")),
    "weights": _at(("/model_info", "model_path"), ("/get_model_info", "model_path")),
    "quantisation": _at(("/server_info", "quantization")),
    "kv_cache": _at(("/server_info", "kv_cache_dtype")),
    "speculative": _at(("/server_info", "speculative_algorithm")),
    "vision": _at(("/model_info", "has_image_understanding")),
}
TOLD: Mapping[str, Mapping[str, Callable[[Bodies], Any]]] = {
    "vllm": {"version": _at(("/version", "version")), "weights": _at(("/v1/models", "data.0.root"))},
    "sglang": SGLANG,
    "ktransformers": {**SGLANG, "quantisation": _at(("/server_info", "kt_method"), ("/server_info", "quantization"))},
    "llama.cpp": {
        "version": _at(("/props", "build_info")),
        "quantisation": _at(("/v1/models", "data.0.meta.ftype")),
        "weights": lambda bodies: "/models/qwen3.6-35b-a3b.gguf" if "/props" in bodies else None,
        "speculative": lambda bodies: "none" if "/slots" in bodies else None,
        "vision": _at(("/props", "modalities.vision")),
    },
    "ollama": {
        "version": _at(("/api/version", "version")),
        "quantisation": _at(
            ("/api/ps", "models.0.details.quantization_level"), ("/api/show", "details.quantization_level")
        ),
        "weights": _at(("/api/tags", "models.0.digest")),
        "vision": lambda bodies: True if "/api/show" in bodies else None,
    },
    "lmstudio": {
        "quantisation": _at(
            ("/api/v0/models", "data.0.quantization"), ("/api/v1/models", "models.0.quantization.name")
        ),
        "vision": lambda _: True,
    },
    "openrouter": {"vision": lambda _: True},
    "moonshot": {"vision": lambda _: True},
}
"""Where a family tells what, by our names for it: written from the fixtures' endpoints and their sources."""
