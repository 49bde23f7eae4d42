"""A server's family is recognised by what it shows, never by what another family may show as well."""

import json
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conformance.server import conformance_server

from agent.dialects.asking import Asked, Server
from agent.dialects.detection import Detected, detect, in_order
from agent.dialects.dialect import Detection, Dialect
from agent.dialects.patterns import matches_any
from agent.dialects.registry import all_dialects, load_dialect
from agent.dialects.served import Facts, ask_served

KEY = "sk-test-0123456789"


@dataclass(frozen=True)
class Page:
    """What stands at one path."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    silent: bool = False
    """The connection is closed without an answer."""


NOT_FOUND = Page({"detail": "Not Found"}, 404)


@dataclass
class Site:
    """A small server, and what it was asked: paths, and the keys that came along."""

    url: str
    asked: list[tuple[str, str | None]] = field(default_factory=list[tuple[str, str | None]])

    @property
    def paths(self) -> set[str]:
        return {path for path, _ in self.asked}

    def detect(self) -> Detected:
        return detect(Server(self.url))


@contextmanager
def serving(pages: Mapping[str, Page], other: Page = NOT_FOUND, software: str = "uvicorn") -> Generator[Site]:
    """Serve `pages` by their paths, and `other` elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def version_string(self) -> str:
            return software

        def do_GET(self) -> None:
            site.asked.append((self.path, self.headers.get("Authorization")))
            page = pages.get(self.path, other)
            if page.silent:
                return
            body = page.body.encode() if isinstance(page.body, str) else json.dumps(page.body).encode()
            self.send_response(page.status)
            for name, value in {**page.headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site = Site(f"http://127.0.0.1:{server.server_port}/v1")
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield site
        server.shutdown()


def models(**entry: Any) -> Page:
    return Page({"object": "list", "data": [{"id": "m", "object": "model", "created": 1, **entry}]})


# -- each family as itself


@pytest.mark.parametrize("family", ["vllm", "sglang", "llama.cpp", "ollama", "lmstudio", "ktransformers", "mlx"])
def test_family_is_recognised_by_what_it_shows(family: str):
    with conformance_server(family) as server:
        assert detect(Server(server.url)).name == family


@pytest.mark.parametrize(
    "family", ["generic", "dashscope", "openrouter", "deepseek", "moonshot", "openai", "gemini-compat"]
)
def test_hosted_service_at_another_address_is_taken_for_no_other_family(family: str):
    with conformance_server(family) as server:
        assert detect(Server(server.url)).name == "generic"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "dashscope"),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "dashscope"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://API.DeepSeek.com/v1", "deepseek"),
        ("https://api.moonshot.ai/v1", "moonshot"),
        ("https://api.moonshot.cn/v1", "moonshot"),
        ("https://api.openai.com/v1", "openai"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "gemini-compat"),
    ],
)
def test_host_name_settles_it_without_a_question(url: str, name: str):
    server = Server(url, KEY)
    assert detect(server) == Detected(name, f"recognised by its host name, {server.host}")
    assert server.said(Asked("models")) is None


@pytest.mark.parametrize("host", ["api.deepseek.com.evil.example", "openrouter.ai.example", "notopenrouter.ai"])
def test_host_name_that_only_looks_like_one_settles_nothing(host: str):
    assert not any(matches_any(dialect.detection.hosts, host) for dialect in all_dialects())


TRANSFORMERS = {
    # What FastAPI makes of transformers/cli/serving/server.py, and the header that its middleware sets.
    "/openapi.json": Page({
        "openapi": "3.1.0", "info": {"title": "FastAPI", "version": "0.1.0"},
        "paths": {
            "/v1/chat/completions": {"post": {"operationId": "chat_completions_v1_chat_completions_post"}},
            "/v1/responses": {"post": {"operationId": "responses_v1_responses_post"}},
        },
    }),
    "/health": Page({"status": "ok"}, headers={"x-request-id": "5f0e"}),
    "/v1/models": models(owned_by="Qwen"),
}  # fmt: skip


def test_transformers_serve_is_recognised_by_its_own_description():
    with serving(TRANSFORMERS) as site:
        assert site.detect().name == "transformers-serve"


def test_any_fastapi_server_is_not_transformers_serve():
    with serving({**TRANSFORMERS, "/health": Page({"status": "ok"})}) as site:
        assert site.detect().name == "generic"


def test_omlx_is_not_mlx():
    with serving({"/v1/models": models(owned_by="omlx", max_model_len=65536), "/health": Page({"status": "ok"})}) as s:
        assert s.detect().name == "omlx"
        assert ask_served(Server(s.url), load_dialect("omlx"), "m").context_window == 65536


# -- what is like another family, and is not


@pytest.mark.parametrize("path", ["/server_info", "/get_server_info"])
@pytest.mark.parametrize(
    ("weights", "name"), [(None, "sglang"), ("", "sglang"), ("/models/gguf", "ktransformers")]
)  # fmt: skip
def test_sglang_is_ktransformers_where_its_experts_lie_on_the_cpu(path: str, weights: str | None, name: str):
    pages = {"/v1/models": models(owned_by="sglang"), path: Page({"kt_weight_path": weights, "version": "0.5.23"})}
    with serving(pages) as site:
        assert site.detect().name == name


@pytest.mark.parametrize(("owner", "name"), [("sglang", "sglang"), ("llamacpp", "llama.cpp"), ("vllm", "vllm")])
def test_server_that_answers_ollamas_questions_is_still_itself(owner: str, name: str):
    pages = {"/": Page("Ollama is running"), "/v1/models": models(owned_by=owner)}
    pages |= {} if name == "vllm" else {"/api/version": Page({"version": "0.0.1"})}
    with serving(pages) as site:
        assert site.detect().name == name


def test_server_that_answers_some_of_ollamas_questions_is_not_ollama():
    with serving({"/api/version": Page({"version": "1.99"}), "/v1/models": models(owned_by="koboldcpp")}) as site:
        assert site.detect().name == "generic"


@pytest.mark.parametrize(
    "pages",
    [
        {"/v1/models": models(owned_by="me"), "/health": Page({"status": "ok"})},
        {"/v1/models": models()},
        {"/v1/models": models(), "/health": Page({"status": "starting"})},
    ],
)
def test_any_server_in_python_is_not_mlx(pages: dict[str, Page]):
    with serving(pages, software="BaseHTTP/0.6 Python/3.12.9") as site:
        assert site.detect().name == "generic"


@pytest.mark.parametrize(
    "pages",
    [
        {"/health/readiness": Page({"status": "healthy", "litellm_version": "1.102.0"}),
         "/v1/models": models(owned_by="vllm")},
        {"/v1/models": Page(models(owned_by="openai").body, headers={"x-litellm-version": "1.102.0"})},
    ],
)  # fmt: skip
def test_proxy_is_generic_whatever_stands_behind_it(pages: dict[str, Page]):
    with serving(pages) as site:
        found = site.detect()
    assert found.name == "generic"
    assert "litellm" in found.how


@pytest.mark.parametrize(
    "other",
    [
        Page({"error": "Unexpected endpoint or method."}),  # LM Studio's answer to anything, with status 200
        Page("<!doctype html><title>Welcome</title>"),
        Page(None),
        Page([]),
        Page("", 500),
        Page({"default_generation_settings": {}, "kt_weight_path": "x", "version": "1"}, 404),
    ],
)
def test_an_answer_to_everything_is_no_sign(other: Page):
    with serving({"/v1/models": models(owned_by="me")}, other) as site:
        found = site.detect()
    assert found.name == "generic"
    assert "no sign of a family that is known; its models are owned by me" in found.how


def test_question_without_an_answer_is_named():
    with serving({"/v1/models": models(), "/props": Page(silent=True)}) as site:
        assert site.detect() == Detected("generic", "no sign of a family that is known; no answer to /props")


# -- what a person says, and the key


def test_own_dialect_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "unbroken" / "dialects"
    folder.mkdir(parents=True)
    (folder / "ours.toml").write_text(
        'name = "ours"\ntitle = "Ours"\nextends = "vllm"\n'
        '[detection]\nsigns = [{ url = "models", header = "x-ours" }]\nbefore = ["vllm", "generic"]\n'
    )
    page = models(owned_by="vllm")
    with serving({"/v1/models": Page(page.body, headers={"X-Ours": "1"})}) as site:
        assert site.detect() == Detected("ours", "recognised by the header x-ours of models")
    with serving({"/v1/models": page}) as site:
        assert site.detect().name == "vllm"


def test_key_goes_to_the_server_alone():
    with serving({}, models()) as elsewhere:
        redirect = Page(None, 302, {"Location": elsewhere.url})
        with serving({"/v1/models": models()}, redirect) as site:
            assert detect(Server(site.url, KEY)).name == "generic"
            assert {key for _, key in site.asked} == {f"Bearer {KEY}"}
    assert elsewhere.asked == []


def test_places_are_from_the_base_url_or_from_above_its_v1():
    with serving({}) as site:
        server = Server(site.url.replace("/v1", "/proxy/v1"))
        server.ask("models")
        server.ask("/props")
    assert [path for path, _ in site.asked] == ["/proxy/v1/models", "/proxy/props"]


def test_nothing_is_asked_twice():
    with serving({"/v1/models": models(owned_by="vllm", max_model_len=5)}) as site:
        server = Server(site.url)
        server.ask("models")
        detect(server)
        ask_served(server, load_dialect("vllm"), "m")
        ask_served(server, load_dialect("vllm"), "m")
    assert len(site.asked) == len(site.paths)


def test_dialects_are_tried_before_those_that_they_name():
    def dialect(name: str, *before: str) -> Dialect:
        return Dialect(name=name, title=name, detection=Detection(before=before))

    ordered = in_order([dialect("a"), dialect("b", "c"), dialect("c", "a"), dialect("d")])
    assert [one.name for one in ordered] == ["b", "c", "a", "d"]
    circle = in_order([dialect("a", "b"), dialect("b", "a")])
    assert {one.name for one in circle} == {"a", "b"}


# -- what is served


WINDOW = 24_576


@pytest.mark.parametrize(
    ("family", "known"),
    [
        ("vllm", Facts(WINDOW, version="0.32.0", weights="Qwen/Qwen3.6-35B-A3B")),
        ("llama.cpp", Facts(WINDOW, "Q4_K - Medium", "b1-0c1e570", "/models/qwen3.6-35b-a3b.gguf", None, "none", True)),
        ("sglang", Facts(WINDOW, version="0.5.23", weights="Qwen/Qwen3.6-35B-A3B")),
        ("ollama", Facts(WINDOW, "Q4_K_M", "0.32.1", vision=True)),
        ("lmstudio", Facts(WINDOW, "Q4_K_M", vision=True)),
        ("openrouter", Facts(WINDOW, vision=True)),
        ("moonshot", Facts(WINDOW, vision=True)),
        ("transformers-serve", Facts()),
        ("mlx", Facts()),
        ("openai", Facts()),
        ("deepseek", Facts()),
        ("generic", Facts()),
    ],
)
def test_what_is_served_is_as_the_server_tells(family: str, known: Facts):
    with conformance_server(family, window=WINDOW) as server:
        asking = Server(server.url)
        model = json.loads(asking.ask("models").content)["data"][0]["id"]
        assert ask_served(asking, load_dialect(family), model) == known


def test_window_is_that_of_the_model_that_is_meant():
    entries = [{"id": "a", "max_model_len": 1}, {"id": "b", "max_model_len": 2}, {"id": "c", "max_model_len": None}]
    with serving({"/v1/models": Page({"data": entries})}) as site:
        windows = [ask_served(Server(site.url), load_dialect("vllm"), name).context_window for name in "abcd"]
    assert windows == [1, 2, None, None]


def test_window_is_the_least_that_is_told():
    pages = {
        "/v1/models": models(owned_by="sglang", max_model_len=262_144),
        "/server_info": Page({"max_total_num_tokens": 32_000, "kv_cache_dtype": "fp8_e5m2", "quantization": None}),
    }
    with serving(pages) as site:
        facts = ask_served(Server(site.url), load_dialect("sglang"), "m")
    assert facts == Facts(32_000, kv_cache="fp8_e5m2")


@pytest.mark.parametrize("told", ["8192", True, 0, -1, None, [8192], {"n": 1}, 1.5])
def test_window_that_is_no_number_of_tokens_is_unknown(told: Any):
    with serving({"/v1/models": models(max_model_len=told)}) as site:
        assert ask_served(Server(site.url), load_dialect("vllm"), "m").context_window is None


def test_model_without_pictures_is_told_from_one_of_which_nothing_is_known():
    with serving({"/api/show": Page({"capabilities": ["completion", "tools"]})}) as site:
        assert ask_served(Server(site.url), load_dialect("ollama"), "m").vision is False
    with serving({}) as site:
        assert ask_served(Server(site.url), load_dialect("ollama"), "m").vision is None
