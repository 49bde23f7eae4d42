"""What the tests of `agent run` share: scripts, a server that wants a key, and what every end has in common."""

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from real_things import Console, Done, GitRepository, calls

from results.records.events import EndEvent, PatchEvent, StartEvent

WriteScript = Callable[..., str]
DONE = {"content": "It is done."}
EDIT = calls("printf 'hello world\\n' >greeting", content="I greet the world.")


def check_record(console: Console, exit: str) -> EndEvent:  # noqa: A002 - as the record calls it
    """The trajectory can be read to its end, which says how the task ended; the diff lies beside it."""
    events = console.events()
    assert isinstance(events[0], StartEvent)
    last = events[-1]
    assert isinstance(last, EndEvent)
    assert last.outcome.exit == exit
    patches = [event.patch for event in events if isinstance(event, PatchEvent)]
    assert patches == [console.patch()]
    return last


def run_to_its_end(
    console: Console, repository: GitRepository, script: str, *arguments: str, **environment: str
) -> Done:
    """Run with everything allowed; what goes wrong is one sentence, and has a traceback where that was asked for."""
    done = console.agent(
        "run", "x", "--repo", repository.path, "--approve", "all", "--retries", "1", "--backend", script, *arguments,
        **environment,
    )  # fmt: skip
    assert ("Traceback" in done.err) == ("--debug" in arguments)
    assert len(re.findall("^error: ", done.err, re.MULTILINE)) == (done.code != 0)
    return done


KEY = "sk-house-0123456789"


class KeyedServer:
    """A model server that wants a key, and repeats it when it fails; it tells what it was asked with."""

    def __init__(self, silent: Path | None = None) -> None:
        keys = self.keys = list[str | None]()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                keys.append(self.headers["Authorization"])
                if silent:
                    silent.touch()
                    self.rfile.read()
                self._answer(200, {"data": [{"id": "m"}]})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                keys.append(self.headers["Authorization"])
                if server.leaves:
                    self.close_connection = True
                    return
                self._answer(401, {"error": {"message": f"{self.headers['Authorization']} is no key of mine"}})

            def _answer(self, status: int, content: Any) -> None:
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
                return

        server = self
        self.leaves = True
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> "KeyedServer":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.socket.close()
