"""From what stands behind `--backend` to a backend, and a sentence for everything that is none."""

import socket
import socketserver
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conformance.server import conformance_server
from real_things import script_text

from agent.backend import BackendError, BackendUnreachableError
from agent.backends import (
    KEY_VARIABLE,
    BackendChoiceError,
    BackendOptions,
    find_local_server,
    list_models,
    open_backend,
    read_address,
)
from agent.chat_backend import ChatBackend
from agent.dialects.registry import DialectError
from agent.scripted.script import ScriptError, load_script
from agent.scripted.server import serve
from results.records.events import BackendDescription

KEY = "sk-test-0123456789"


@contextmanager
def answering(answer: bytes) -> Generator[tuple[str, list[bytes]]]:
    """A server that says the same to everyone; what it was asked is kept."""
    asked: list[bytes] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            asked.append(self.request.recv(65536))
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
        server.shutdown()


def http(body: str | bytes, status: str = "200 OK", header: str = "") -> bytes:
    content = body.encode() if isinstance(body, str) else body
    return f"HTTP/1.1 {status}\r\n{header}Content-Length: {len(content)}\r\n\r\n".encode() + content


def models(*names: str) -> bytes:
    entries = ",".join(f'{{"id": "{name}"}}' for name in names)
    return http(f'{{"object": "list", "data": [{entries}]}}')


def refused_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}/v1"


async def opened(choice: str, model: str | None = None, key_variable: str = KEY_VARIABLE) -> ChatBackend:
    async with open_backend(choice, BackendOptions(model=model, key_variable=key_variable)) as backend:
        return backend


# -- addresses


@pytest.mark.parametrize(
    ("choice", "url"),
    [
        ("http://host:8000/v1", "http://host:8000/v1"),
        ("http://host:8000/v1/", "http://host:8000/v1"),
        ("http://host:8000", "http://host:8000/v1"),
        ("https://host/", "https://host/v1"),
        ("https://host/api/openai", "https://host/api/openai"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
        ("ollama", "http://127.0.0.1:11434/v1"),
        ("llama.cpp", "http://127.0.0.1:8080/v1"),
        ("mlx", "http://127.0.0.1:8080/v1"),
    ],
)
def test_address_is_understood(choice: str, url: str):
    assert read_address(choice) == url


@pytest.mark.parametrize(
    "choice", ["", "vlm", "localhost:8000", "ftp://host/v1", "http://", "http://:80/v1", "http://[::1/v1", "http://h:x/v1",
               "http://h:99999/v1", "http://a b/v1", "http://host\n/v1"],
)  # fmt: skip
def test_what_is_no_address_is_a_sentence_that_shows_one(choice: str):
    with pytest.raises(BackendChoiceError, match="http://HOST:PORT/v1"):
        read_address(choice)


@pytest.mark.parametrize(
    "choice", ["http://me:pa55word@host/v1", "http://host/v1?key=pa55word", "http://host/v1#pa55word"]
)
def test_secret_in_an_address_is_refused_and_not_repeated(choice: str):
    with pytest.raises(BackendChoiceError, match="UNBROKEN_API_KEY") as refusal:
        read_address(choice)
    assert "pa55word" not in str(refusal.value)


# -- what answers there


async def test_the_one_model_is_taken():
    with answering(http('{"data": [{"id": "m", "max_model_len": 4096, "other": [1]}]}')) as (url, _):
        description = (await opened(url)).description
    assert (description.model, description.context_window, description.scripted) == ("m", 4096, False)


async def test_of_several_models_one_must_be_chosen():
    with answering(models("one", "two")) as (url, _):
        with pytest.raises(BackendChoiceError, match=r"one, two.*--model"):
            await opened(url)
        assert (await opened(url, model="two")).description.model == "two"


async def test_server_without_a_model_says_so():
    with answering(models()) as (url, _), pytest.raises(BackendChoiceError, match="serves no model yet"):
        await opened(url)


async def test_server_without_a_list_of_models_needs_a_name():
    with answering(http("", "404 Not Found")) as (url, _):
        with pytest.raises(BackendChoiceError, match=r"answers 404 .*/v1.*--model"):
            await opened(url)
        assert (await opened(url, model="mine")).description.model == "mine"


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        ("401 Unauthorized", BackendChoiceError, "it wants a key: put it into UNBROKEN_API_KEY"),
        ("403 Forbidden", BackendChoiceError, "it wants a key: put it into UNBROKEN_API_KEY"),
        ("503 Service Unavailable", BackendUnreachableError, "still loads its model"),
        ("429 Too Many Requests", BackendUnreachableError, "busy"),
        ("500 Internal Server Error", BackendError, "its own log says why"),
        ("400 Bad Request", BackendChoiceError, "is the address right"),
    ],
)
async def test_refusal_says_what_to_do(status: str, kind: type[Exception], words: str):
    with answering(http("", status)) as (url, _), pytest.raises(kind, match=words) as failure:
        await opened(url)
    assert url in str(failure.value)
    assert type(failure.value) is kind


async def test_a_wrong_key_is_told_from_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("UNBROKEN_API_KEY", "sk-of-another-house")
    with (
        answering(http("", "401 Unauthorized")) as (url, _),
        pytest.raises(BackendChoiceError, match="it gets what UNBROKEN_API_KEY holds"),
    ):
        await opened(url)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"",
        b"\x00\xff" * 100,
        http("<html>Jenkins</html>"),
        http("[]"),
        http("null"),
        http('{"data": {"id": "m"}}'),
        http('{"data": ["m"]}'),
        http('{"data": [{"name": "m"}]}'),
        http(b"\xff\xfe"),
        http('{"data": []}')[:-4],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_server_of_models_is_a_sentence(answer: bytes):
    with answering(answer) as (url, _), pytest.raises((BackendChoiceError, BackendUnreachableError)) as failure:
        await opened(url)
    assert url in str(failure.value)


async def test_refused_connection_asks_whether_the_server_runs():
    with pytest.raises(BackendUnreachableError, match="Is the server running"):
        await opened(refused_address())


async def test_proxy_of_the_environment_is_not_for_this_machine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", refused_address())
    with answering(models("m")) as (url, _):
        assert (await opened(url)).description.model == "m"


# -- what is recorded of it


async def described(url: str, **options: Any) -> BackendDescription:
    async with open_backend(url, BackendOptions(**options)) as backend:
        assert backend.dialect.sha256() == backend.description.dialect_sha256
        return backend.description


async def test_server_is_asked_what_it_is_and_what_it_serves():
    with conformance_server("llama.cpp", window=40_960) as server:
        description = await described(server.url, sampling={"repetition_penalty": 1.1, "max_output": 7})
    assert description.dialect == "llama.cpp"
    assert description.stated == {"dialect": "recognised by default_generation_settings of /props"}
    assert (description.context_window, description.quantisation) == (40_960, "Q4_K - Medium")
    assert (description.server, description.weights) == ("b1-0c1e570", "/models/qwen3.6-35b-a3b.gguf")
    assert (description.vision, description.speculative, description.kv_cache) == (True, "none", None)
    assert description.sampling == {
        "repeat_penalty": 1.1,
        "max_tokens": 7,
        "chat_template_kwargs": {"enable_thinking": True, "preserve_thinking": True},
    }
    assert description.unsent == []


async def test_what_a_server_refuses_is_left_out_and_recorded():
    with conformance_server("transformers-serve") as server:
        description = await described(
            server.url, dialect="transformers-serve", sampling={"top_k": 20, "temperature": 0.6}
        )
    assert description.unsent == ["top_k"]
    assert "top_k" not in description.sampling
    assert description.sampling["temperature"] == 0.6


async def test_what_a_person_states_counts_where_the_server_does_not_tell():
    stated = {
        "weights": "mine",
        "quantisation": "mine",
        "kv_cache": "q8_0",
        "speculative": "mine",
        "hardware": "2 GPUs",
    }
    with conformance_server("llama.cpp") as server:
        description = await described(server.url, **stated)
    assert (description.weights, description.quantisation, description.speculative) == (
        "/models/qwen3.6-35b-a3b.gguf", "Q4_K - Medium", "none",
    )  # fmt: skip
    assert (description.kv_cache, description.hardware) == ("q8_0", "2 GPUs")


async def test_window_that_a_person_states_counts_whatever_the_server_tells():
    with conformance_server("vllm", window=40_960) as server:
        assert (await described(server.url)).context_window == 40_960
        assert (await described(server.url, context_window=200_000)).context_window == 40_960
        assert (await described(server.url, context_window=20_000)).context_window == 20_000


async def test_dialect_that_a_person_states_is_not_looked_for(tmp_path: Path):
    (tmp_path / "ours.toml").write_text('name = "ours"\ntitle = "Ours"\n[output]\nkey = "limit"\n')
    with answering(models("m")) as (url, asked):
        description = await described(url, dialect=str(tmp_path / "ours.toml"), sampling={"max_output": 3})
    assert (description.dialect, description.stated, description.sampling) == (
        "ours", {"dialect": "stated"}, {"limit": 3},
    )  # fmt: skip
    assert [request.split(b" ")[1] for request in asked] == [b"/v1/models"]


async def test_dialect_that_is_none_is_named_before_anything_is_asked():
    with answering(models("m")) as (url, asked), pytest.raises(DialectError, match="there is no dialect 'vlm'"):
        await described(url, dialect="vlm")
    assert asked == []


@pytest.mark.parametrize("preserve", [True, False])
@pytest.mark.parametrize("thinking", [True, False])
async def test_switches_are_as_a_person_says(thinking: bool, preserve: bool):
    with answering(models("m")) as (url, _):
        description = await described(url, thinking=thinking, preserve=preserve)
    assert description.sampling["chat_template_kwargs"] == {
        "enable_thinking": thinking, "preserve_thinking": preserve,
    }  # fmt: skip


async def test_names_and_origins_of_settings_are_recorded():
    with answering(models("m")) as (url, _):
        description = await described(
            url, profile="qwen3.6", mode="coding", preset="p", provenance={"temperature": "published: card"}
        )
    assert (description.profile, description.mode, description.preset) == ("qwen3.6", "coding", "p")
    assert description.stated["temperature"] == "published: card"


async def test_server_whose_list_of_models_fails_is_used_with_a_model_that_is_named():
    with answering(http("Internal Server Error", "500 Internal Server Error")) as (url, _):
        assert (await described(url, model="mine")).model == "mine"


# -- the key


async def test_key_goes_along_as_a_bearer_token(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    with answering(models("m")) as (url, asked):
        await opened(url, key_variable="MY_KEY")
    assert f"Authorization: Bearer {KEY}\r\n".encode() in asked[0]


async def test_key_does_not_follow_a_redirect(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("UNBROKEN_API_KEY", KEY)
    with answering(models("m")) as (elsewhere, asked):
        redirect = http("", "302 Found", f"Location: {elsewhere}/models\r\n")
        with answering(redirect) as (url, _), pytest.raises(BackendChoiceError, match="answers 302"):
            await opened(url)
    assert asked == []


async def test_key_that_no_header_can_carry_is_not_repeated(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("UNBROKEN_API_KEY", f"{KEY}\nX: y")
    with answering(models("m")) as (url, asked), pytest.raises(BackendChoiceError, match="UNBROKEN_API_KEY") as failure:
        await opened(url)
    assert KEY not in str(failure.value)
    assert asked == []


async def test_wrong_key_is_told_with_the_name_of_its_variable():
    with answering(http("", "401 Unauthorized")) as (url, _), pytest.raises(BackendChoiceError, match="MY_KEY"):
        await opened(url, key_variable="MY_KEY")


# -- servers on this machine


def test_first_server_that_answers_is_found_by_name():
    with answering(models("m")) as (one, _), answering(models("n")) as (two, _), answering(b"SSH-2.0\r\n") as (ssh, _):
        servers = {"vllm": refused_address(), "ssh": ssh, "sglang": two, "ollama": one}
        assert find_local_server(servers) == ("sglang", two)


def test_address_that_two_families_share_is_asked_once_and_named_by_the_first():
    with answering(models("m")) as (url, asked):
        assert find_local_server({"llama.cpp": url, "mlx": url}) == ("llama.cpp", url)
    assert len(asked) == 1


def test_no_server_is_an_error_that_names_all_places():
    servers = {"vllm": refused_address(), "ollama": refused_address()}
    with pytest.raises(BackendUnreachableError, match="no model server") as failure:
        find_local_server(servers)
    for name, url in servers.items():
        assert f"{name} ({url.split('/')[2]})" in str(failure.value)
    assert "--backend" in str(failure.value)


async def test_server_that_was_found_is_told(monkeypatch: pytest.MonkeyPatch):
    told: list[str] = []
    with answering(models("m")) as (url, _):
        monkeypatch.setattr("agent.local_servers.local_addresses", lambda: {"llama.cpp": url})
        async with open_backend(None, BackendOptions(), told.append) as backend:
            assert backend.description.base_url == url
    assert told[0] == f"found a model server at {url} (the port of llama.cpp)"
    assert told[1].startswith("it speaks generic: no sign of a family that is known")


# -- scripts


async def test_scripted_backend_says_that_it_is_scripted(tmp_path: Path):
    (tmp_path / "s.yaml").write_text(script_text([{"content": "done"}]))
    assert (await opened(f"scripted:{tmp_path}/s.yaml")).description.scripted
    async with serve(load_script(tmp_path / "s.yaml")) as url:
        assert (await opened(url)).description.scripted
        assert [model.id for model in list_models(url)] == ["scripted/test"]


@pytest.mark.parametrize("name", ["broken.yaml", "missing.yaml", "."])
async def test_script_that_cannot_be_played_is_named(tmp_path: Path, name: str):
    (tmp_path / "broken.yaml").write_text("scripted: x\nconversations: 3\n")
    with pytest.raises(ScriptError, match=str(tmp_path)):
        await opened(f"scripted:{tmp_path / name}")
