"""Where the files of SWE-bench Pro's evaluation come from: a folder, or a commit over HTTP, fetched once."""

import http.server
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from evals.swebench.pro_scripts import COMMIT, REPOSITORY, ProScriptsError, paths, read_folder
from evals.swebench.pro_scripts_download import MOST_BYTES, ProScriptsDownload

ONE, TWO = "instance_a__b-0123abc-vnan", "instance_c__d-4567def"


def content(path: str) -> str:
    return f"# {path}\nexit 0 # é\n"


def filled(folder: Path, *instance_ids: str, end: str = "\n") -> Path:
    for path in [path for one in instance_ids for path in paths(one)]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content(path).replace("\n", end).encode())
    return folder


@dataclass
class Host:
    """A host of raw files; `failures` are the statuses that it answers with first, for each path."""

    failures: list[int] = field(default_factory=list[int])
    bodies: dict[str, bytes] = field(default_factory=dict[str, bytes])
    asked: list[str] = field(default_factory=list[str])
    broken_off: bool = False

    @contextmanager
    def serve(self) -> Generator[str]:
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append(self.path)
                prefix = f"/{REPOSITORY}/{COMMIT}/"
                failures = host.failures[host.asked.count(self.path) - 1 :]
                body = host.bodies.get(self.path.removeprefix(prefix))
                status = failures[0] if failures else 200 if body is not None and self.path.startswith(prefix) else 404
                self.send_response(status)
                self.send_header("Content-Length", str(len(body or b"") + host.broken_off))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def host_of(*instance_ids: str, **settings: Any) -> Host:
    return Host(bodies={path: content(path).encode() for one in instance_ids for path in paths(one)}, **settings)


def test_a_folder_of_the_layout_is_read(tmp_path: Path) -> None:
    found = read_folder(filled(tmp_path, ONE, TWO), [TWO])
    assert list(found.tasks) == [TWO]
    assert found.origin == str(tmp_path)
    assert found.tasks[TWO].run_script == content(f"run_scripts/{TWO}/run_script.sh")
    assert found.tasks[TWO].instance_dockerfile == content(f"dockerfiles/instance_dockerfile/{TWO}/Dockerfile")


def test_the_hash_is_that_of_what_is_used(tmp_path: Path) -> None:
    plain = filled(tmp_path / "plain", ONE, TWO)
    windows = filled(tmp_path / "windows", ONE, end="\r\n")
    used = read_folder(plain, [ONE]).content_hash
    assert used == read_folder(windows, [ONE]).content_hash
    assert used != read_folder(plain, [ONE, TWO]).content_hash
    assert read_folder(plain, [TWO, ONE]).content_hash == read_folder(plain, [ONE, TWO]).content_hash
    (plain / paths(ONE)[1]).write_text("other")
    assert used != read_folder(plain, [ONE]).content_hash


def test_what_a_folder_lacks_is_said(tmp_path: Path) -> None:
    filled(tmp_path, ONE)
    (tmp_path / paths(ONE)[1]).unlink()
    with pytest.raises(
        ProScriptsError, match=rf"lacks run_scripts/{ONE}/parser.py, run_scripts/{TWO}/.* and \d more"
    ) as said:
        read_folder(tmp_path, [ONE, TWO, TWO])
    assert "a checkout of scaleapi/SWE-bench_Pro-os" in str(said.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (filled(tmp_path, ONE) / paths(ONE)[0]).write_bytes(b"\xff\xfe")
    with pytest.raises(ProScriptsError, match=r"run_script\.sh cannot be read"):
        read_folder(tmp_path, [ONE])


@pytest.mark.parametrize("name", ["", ".", "..", "../../x", "a/b", "-x", "a\n", "a\0b", "é"])
def test_an_id_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProScriptsError, match="is no id of SWE-bench Pro"):
        read_folder(tmp_path, [name])


async def test_what_is_fetched_once_is_not_asked_for_again(tmp_path: Path) -> None:
    host = host_of(ONE, TWO)
    with host.serve() as address:
        download = ProScriptsDownload(address=address, cache=tmp_path / "cache")
        first = await download.load([ONE])
        assert sorted(host.asked) == sorted(f"/{REPOSITORY}/{COMMIT}/{path}" for path in paths(ONE))
        both = await download.load([ONE, TWO])
        assert len(host.asked) == 8
    assert await download.load([ONE, TWO]) == both  # and there is no host any more
    assert first.origin == f"{REPOSITORY}@{COMMIT}"
    assert first.content_hash == read_folder(filled(tmp_path / "folder", ONE), [ONE]).content_hash
    kept = {
        str(file.relative_to(tmp_path / "cache" / COMMIT)) for file in (tmp_path / "cache").rglob("*") if file.is_file()
    }
    assert kept == {*paths(ONE), *paths(TWO)}


async def test_a_busy_host_is_asked_again(tmp_path: Path) -> None:
    host = host_of(ONE, failures=[503, 429])
    with host.serve() as address:
        found = await ProScriptsDownload(address=address, cache=tmp_path, wait=0.01).load([ONE])
    assert list(found.tasks) == [ONE]
    assert len(host.asked) == 12


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (host_of(ONE, failures=[503] * 9), "it answers with status 503"),
        (host_of(ONE, failures=[403] * 9), "it answers with status 403"),
        (host_of(ONE, broken_off=True), "cannot be had from"),
        (Host(bodies=dict.fromkeys(paths(ONE), b"x" * (MOST_BYTES + 1))), "has more than"),
    ],
)
async def test_a_host_that_fails_leaves_nothing_and_the_way_out_is_said(tmp_path: Path, host: Host, said: str) -> None:
    with host.serve() as address, pytest.raises(ProScriptsError, match=said) as error:
        await ProScriptsDownload(address=address, cache=tmp_path, wait=0.01).load([ONE])
    assert "--pro-scripts DIR" in str(error.value)
    assert COMMIT in str(error.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_without_a_network_the_way_out_is_said(tmp_path: Path) -> None:
    download = ProScriptsDownload(address="http://127.0.0.1:9", cache=tmp_path, wait=0.01)
    with pytest.raises(ProScriptsError, match=r"Without a network, check out commit .* --pro-scripts DIR"):
        await download.load([ONE])


async def test_a_task_that_the_commit_does_not_have_is_named(tmp_path: Path) -> None:
    with (
        host_of(ONE).serve() as address,
        pytest.raises(ProScriptsError, match=rf"has no \S+{TWO}/\S+ at commit {COMMIT}"),
    ):
        await ProScriptsDownload(address=address, cache=tmp_path).load([ONE, TWO])


@pytest.mark.parametrize("commit", ["main", "ca10a60", "../..", "g" * 40])
async def test_only_a_whole_commit_is_taken(tmp_path: Path, commit: str) -> None:
    with pytest.raises(ProScriptsError, match="no whole commit"):
        await ProScriptsDownload(commit=commit, cache=tmp_path).load([ONE])


async def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with host_of(ONE).serve() as address, pytest.raises(ProScriptsError, match="cannot be written"):
        await ProScriptsDownload(address=address, cache=tmp_path / "file").load([ONE])
