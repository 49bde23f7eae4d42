"""Exports that add, imports that are not ours to remove, and engines that take their time over archives."""

import fcntl
import hashlib
import json
import shutil
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from images_desk import Desk, as_user, desk, image_id, layer
from registry_server import Published

from evals.images.archive_index import read_index
from evals.images.archive_streams import load, saved

__all__ = ["as_user", "desk"]


@pytest.fixture
def images(desk: Desk) -> list[Published]:
    """Images of one repository that are here."""
    found = [desk.publish(name) for name in ("a", "b", "c")]
    assert desk.images("pull").code == 0
    return found


def archived(place: Path) -> dict[str, list[str]]:
    return {archive.file: [image.name for image in archive.images] for archive in read_index(place).archives}


@pytest.mark.parametrize(
    ("place", "files"), [("archives", ["acme__one.tar", "acme__one-2.tar"]), ("all.tar", ["all.tar", "all-2.tar"])]
)
def test_an_export_adds_to_what_is_there(desk: Desk, images: list[Published], place: str, files: list[str]) -> None:
    where, ids = desk.folder / place, [image_id(desk.client, image.name) for image in images]
    assert desk.images("export", where, only="1").code == 0
    again = desk.images("export", where, only="1,2,3")
    assert again.code == 0, again.err
    assert f"{files[0]}: is there already, 1 images" in again.out
    assert archived(where) == {files[0]: [images[0].name], files[1]: [images[1].name, images[2].name]}
    nothing = desk.images("export", where)
    assert nothing.out.count("is there already") == 2
    for image in images:
        desk.remove(image)
    back = desk.images("import", where)
    assert back.code == 0, back.err
    assert [image_id(desk.client, image.name) for image in images] == ids


def test_repositories_whose_names_look_alike_have_archives_of_their_own(desk: Desk) -> None:
    repositories = ("acme/one__x", "acme__one/x", "Acme/One__X")
    found = [desk.publish(f"i{number}", repository=one) for number, one in enumerate(repositories)]
    assert desk.images("pull").code == 0
    place = desk.folder / "archives"
    for number in ("1", "2", "3"):
        assert desk.images("export", place, only=number).code == 0
    files = archived(place)
    assert len({file.casefold() for file in files}) == 3
    assert sorted(files.values()) == sorted([image.name] for image in found)


def test_the_newest_image_of_a_name_is_what_an_import_brings(desk: Desk, images: list[Published]) -> None:
    place = desk.folder / "archives"
    oldest = image_id(desk.client, images[0].name)
    assert desk.images("export", place).code == 0
    desk.remove(images[0])
    rows, desk.rows = desk.rows, []
    newer = desk.publish("a")
    desk.rows = rows
    assert desk.images("pull").code == 0
    newest = image_id(desk.client, newer.name)
    assert desk.images("export", place).code == 0
    assert list(archived(place).values()) == [[image.name for image in images], [newer.name]]
    for image in images:
        desk.remove(image)
    back = desk.images("import", place)
    assert back.code == 0, back.err
    assert image_id(desk.client, newer.name) == newest
    assert desk.has(*images) == [True, True, True]
    api: Any = desk.client.api
    assert oldest not in api.images(quiet=True)  # without a name
    desk.remove(images[1])
    again = desk.images("import", place)
    assert again.code == 0, again.err
    assert image_id(desk.client, newer.name) == newest


def test_a_broken_archive_stays_where_it_holds_what_is_not_written_again(desk: Desk, images: list[Published]) -> None:
    place = desk.folder / "archives"
    assert desk.images("export", place, only="1,2").code == 0
    whole = (place / "acme__one.tar").read_bytes()
    (place / "acme__one.tar").write_bytes(whole[:-1])
    done = desk.images("export", place, only="1")
    assert done.code == 0, done.err
    assert "acme__one.tar: is not as it was written; copy it once more" in done.out
    assert f"export what else was in it: {images[1].name}\n" in done.out
    assert archived(place) == {
        "acme__one.tar": [images[0].name, images[1].name], "acme__one-2.tar": [images[0].name],
    }  # fmt: skip
    (place / "acme__one.tar").write_bytes(whole)
    for image in images:
        desk.remove(image)
    assert desk.images("import", place).code == 0
    assert desk.has(*images) == [True, True, False]


def test_a_file_of_somebody_else_is_not_overwritten(desk: Desk, images: list[Published]) -> None:
    place = desk.folder / "all.tar"
    place.write_bytes(b"theirs")
    done = desk.images("export", place)
    assert done.code == 1
    assert f"{place} is there" in done.err
    assert place.read_bytes() == b"theirs"


def test_two_exports_to_one_folder_do_not_meet(desk: Desk, images: list[Published]) -> None:
    place = desk.folder / "archives"
    place.mkdir()
    lock = place / ".index.json.lock"
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = desk.images("export", place)
    assert done.code == 1
    assert "another process is exporting" in done.err
    assert desk.images("export", place).code == 0  # what a killed one has left is in nobody's way
    assert not lock.exists()


def test_imported_images_go_only_when_somebody_says_so(desk: Desk, images: list[Published]) -> None:
    place = desk.folder / "archives"
    assert desk.images("export", place).code == 0
    for image in images:
        desk.remove(image)
    assert desk.images("import", place).code == 0
    assert desk.images("prune", "--all").code == 0
    later = desk.publish("later", layer(1000))
    assert desk.images("pull", "--budget", "1200k", only="4").code == 0
    assert desk.has(*images, later) == [True, True, True, True]
    everything = desk.images("prune", "--all", "--imported")
    assert everything.code == 0, everything.err
    assert desk.has(*images, later) == [False, False, False, False]


def test_what_was_here_is_not_imported_and_stays_whose_it_was(desk: Desk, images: list[Published]) -> None:
    place = desk.folder / "archives"
    assert desk.images("export", place).code == 0
    desk.remove(images[1])
    api: Any = desk.client.api
    api.tag(images[2].name, f"{desk.registry.host}/{desk.prefix}/theirs", "1")
    desk.remove(images[2])
    assert desk.images("import", place).code == 0
    assert desk.images("prune", "--all").code == 0
    assert desk.has(*images) == [False, True, True]  # pulled; imported; their image, with its name again
    assert desk.images("prune", "--all", "--imported").code == 0
    assert desk.has(*images) == [False, False, True]


def test_another_digest_than_that_of_the_archive_is_told(desk: Desk) -> None:
    place, before = desk.folder / "archives", desk.publish("one")
    assert desk.images("pull").code == 0
    assert desk.images("export", place).code == 0
    desk.remove(before)
    shutil.rmtree(desk.console.home / "data")
    assert desk.images("import", place).code == 0
    desk.remove(before)
    desk.rows.clear()
    after = desk.publish("one")
    assert f"the digest was {before.digest}, and is {after.digest}" in desk.images("pull").err


SILENCE = 3.0


@pytest.fixture
def slow(client: DockerClient, tmp_path: Path) -> Iterator[DockerClient]:
    """The engine, which is silent over archives for longer than the client's limit."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            asked = False
            with socket.socket(socket.AF_UNIX) as engine:
                engine.connect("/var/run/docker.sock")

                def answer() -> None:
                    nonlocal asked
                    while data := engine.recv(2**16):
                        if asked:
                            time.sleep(SILENCE)
                            asked = False
                        try:
                            self.request.sendall(data)
                        except OSError:  # the client has gone
                            return

                threading.Thread(target=answer, daemon=True).start()
                while data := self.request.recv(2**16):
                    asked = asked or b"/images/load" in data[:200] or b"/images/get" in data[:200]
                    engine.sendall(data)
                engine.shutdown(socket.SHUT_WR)

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    address = str(tmp_path / "slow.sock")
    with Server(address, Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        connected = DockerClient(base_url=f"unix://{address}", version=client.api.api_version, timeout=1)
        yield connected
        connected.close()
        server.shutdown()


def test_an_engine_may_be_silent_over_an_archive_for_as_long_as_it_likes(
    desk: Desk, slow: DockerClient, images: list[Published]
) -> None:
    archive = desk.folder / "one.tar"
    archive.write_bytes(b"".join(saved(slow, [images[0].name])))
    desk.remove(images[0])
    load(slow, archive)
    assert desk.has(images[0]) == [True]


def test_an_archive_that_the_engine_refuses_is_told(desk: Desk, images: list[Published]) -> None:
    place = desk.folder / "archives"
    assert desk.images("export", place, only="1").code == 0
    desk.remove(images[0])
    nonsense = b"nonsense"
    (place / "acme__one.tar").write_bytes(nonsense)
    index = json.loads((place / "index.json").read_text())
    index["archives"][0] |= {"size": len(nonsense), "sha256": hashlib.sha256(nonsense).hexdigest()}
    (place / "index.json").write_text(json.dumps(index))
    done = desk.images("import", place)
    assert done.code == 1
    assert "acme__one.tar: " in done.out
    assert "Traceback" not in done.err
