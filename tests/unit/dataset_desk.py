"""For tests of datasets: real rows, cut short; a small Hub over HTTP; and loading in a process with its own cache.

The Hub answers what the `datasets` package asks of the real one: files by revision, listings, and what a name is.
"""

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pyarrow
from pyarrow import parquet
from real_things import clean_environment

REAL_ROWS = Path(__file__).parents[1] / "data" / "swebench_rows.json"
"""Six rows of SWE-bench Verified (commit 52b72b3 of its repository), with patches, scripts and lists cut short."""

DATA_FILE = "data/test-00000-of-00001.parquet"
CARD = f"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: test\n    path: {DATA_FILE}\n---\n"

_LOAD = """
import dataclasses, json, sys
from evals.swebench.dataset import DatasetError, load_dataset
for source in sys.argv[1:]:
    said = []
    try:
        dataset = load_dataset(source, tell=said.append)
        ids = [row.instance_id for row in dataset.rows]
        loaded = {"source": dataset.source, "revision": dataset.revision, "kind": dataset.kind, "ids": ids}
    except DatasetError as error:
        loaded = {"error": str(error)}
    print(json.dumps({**loaded, "said": said}))
"""


def real_rows() -> list[dict[str, Any]]:
    return json.loads(REAL_ROWS.read_text("utf-8"))


def pro_row(instance_id: str = "instance_demo__one-0123abc", **changes: Any) -> dict[str, Any]:
    columns = {
        "instance_id": instance_id, "repo": "Demo/One", "base_commit": "0" * 40, "problem_statement": "It breaks.",
        "patch": "p", "test_patch": "t", "fail_to_pass": "['test/a.js | it\\'s']", "pass_to_pass": "[]",
        "requirements": "R", "interface": "I", "repo_language": "js", "dockerhub_tag": "demo.one-demo__one-0123abc",
        "before_repo_set_cmd": "git checkout x", "selected_test_files_to_run": "['test/a.js']",
        "issue_categories": "['bug']",
    }  # fmt: skip
    return {**columns, **changes}


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    if path.suffix == ".parquet":
        table = cast("Any", pyarrow).Table.from_pylist(rows)
        cast("Any", parquet).write_table(table, path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in rows))
    else:
        path.write_text(json.dumps(rows))
    return str(path)


def load_elsewhere(cache: Path, sources: Sequence[str], **environment: str) -> list[dict[str, Any]]:
    """What loading each of `sources` comes to in a process whose cache is `cache`: a summary, or the error."""
    variables = clean_environment(cache, HF_HOME=str(cache), HF_HUB_DISABLE_TELEMETRY="1", **environment)
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, *sources], env=variables, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def hub(commits: Mapping[str, Mapping[str, bytes]]) -> Generator[str]:
    """The address of a Hub that has these datasets: by name, then by `revision@commit`, the Parquet of the rows."""
    handler = type("Handler", (_Handler,), {"commits": commits})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    commits: Mapping[str, Mapping[str, bytes]]
    """As `hub` takes them."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[0] == "datasets" and parts[3:4] == ["resolve"]:
            self._file("/".join(parts[1:3]), parts[4], "/".join(parts[5:]))
        elif parts[:2] == ["api", "datasets"] and parts[4:5] == ["tree"]:
            self._listing("/".join(parts[2:4]), parts[5], "/".join(parts[6:]))
        elif parts[:2] == ["api", "datasets"]:
            self._dataset("/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main")
        else:
            self._answer(404, b"{}")

    def _file(self, name: str, revision: str, path: str) -> None:
        found = self._revision(name, revision)
        if found is None:
            return
        commit, files = found
        if path not in files:
            self._answer(404, b"", {"x-error-code": "EntryNotFound", "x-repo-commit": commit})
        else:
            etag = hashlib.sha256(files[path]).hexdigest()
            self._answer(200, files[path], {"x-repo-commit": commit, "etag": f'"{etag}"'})

    def _listing(self, name: str, revision: str, folder: str) -> None:
        if found := self._revision(name, revision):
            entries = [_entry(path, content) for path, content in found[1].items() if path.rpartition("/")[0] == folder]
            self._answer(200, json.dumps(entries).encode(), {"content-type": "application/json"})

    def _dataset(self, name: str, revision: str) -> None:
        if found := self._revision(name, revision):
            siblings = [{"rfilename": path} for path in found[1]]
            about = {"id": name, "sha": found[0], "siblings": siblings, "private": False, "tags": [], "downloads": 0}
            self._answer(200, json.dumps(about).encode(), {"content-type": "application/json"})

    def _revision(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        known = self.commits.get(name)
        if known is None:
            self._answer(404, b"", {"x-error-code": "RepoNotFound"})
            return None
        commit = next((one for one in known if revision in one.split("@")), None)
        if commit is None:
            self._answer(404, b"", {"x-error-code": "RevisionNotFound"})
            return None
        return commit.rpartition("@")[2], {"README.md": CARD.encode(), DATA_FILE: known[commit]}

    def _answer(self, code: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def _entry(path: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "oid": hashlib.sha256(content).hexdigest()[:40], "size": len(content), "path": path}
