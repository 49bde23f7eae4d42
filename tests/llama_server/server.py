"""Runs the real llama.cpp server on this machine, for as long as a test needs it."""

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BUILD_SCRIPT = Path(__file__).parents[2] / "scripts" / "llama_server"
_PATIENCE = 60.0
_LISTENS = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")


class ServerError(Exception):
    """The server did not start, or answers with an error; the message holds what it said."""


@dataclass(frozen=True)
class LlamaServer:
    """A running server."""

    root: str
    """Its address without `/v1`."""
    log: Path

    @property
    def url(self) -> str:
        """The base URL that a client gets."""
        return f"{self.root}/v1"

    def get(self, path: str) -> Any:
        """What the server answers at `path`. Raises ServerError."""
        return _ask(self.root + path)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """What the server answers to `body` at `path`. Raises ServerError."""
        return _ask(self.root + path, body)

    def prompt(self, body: Mapping[str, Any]) -> str:
        """The text of the prompt that the server makes of a chat request."""
        return self.post("/apply-template", body)["prompt"]

    def count(self, text: str) -> int:
        """How many tokens the server sees in `text`."""
        return len(self.post("/tokenize", {"content": text, "parse_special": True})["tokens"])


def find_llama_server() -> Path:
    """The server's program. Skips the test that asks where none has been built."""
    found = subprocess.run([BUILD_SCRIPT, "--print"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(found.stderr.strip())
    return Path(found.stdout.strip())


@contextmanager
def running(model: Path, *flags: str, context: int = 32_768) -> Generator[LlamaServer]:
    """Serve `model` at a free port of this machine with `context` tokens. `flags` come last, so they win.

    Raises ServerError when the server does not come up; skips where there is no server.
    """
    log = model.with_suffix(f".{time.monotonic_ns()}.log")
    command = [
        find_llama_server(), "--model", model, "--jinja", "--ctx-size", str(context), "--parallel", "1",
        "--threads", "1", "--host", "127.0.0.1", "--port", "0", *flags,
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield LlamaServer(_wait_until_it_serves(process, log), log)
    finally:
        process.kill()  # it has nothing to save
        process.wait()


def _wait_until_it_serves(process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        if found := _LISTENS.search(log.read_text("utf-8", "replace")):
            root = f"http://127.0.0.1:{found[1]}"
            try:
                _ask(f"{root}/health")
            except ServerError:  # it listens while it still loads
                pass
            else:
                return root
        time.sleep(0.01)
    end = "\n".join(log.read_text("utf-8", "replace").splitlines()[-15:])
    message = f"llama-server did not come up (exit code {process.poll()}); the end of its log:\n{end}"
    raise ServerError(message)


def _ask(url: str, body: Mapping[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for this machine
    try:
        with direct.open(request, timeout=_PATIENCE) as response:
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        message = f"{url} answers {error.code}: {error.read().decode('utf-8', 'replace')[:500]}"
        raise ServerError(message) from error
    except OSError as error:
        message = f"{url} cannot be reached: {error}"
        raise ServerError(message) from error
