"""Small images for tests, made from what is on this machine and from the base image, and removed afterwards."""

import io
import secrets
import shutil
import subprocess
import tarfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

BASE = "unbroken/base:1"
_PASSWD = b"root:x:0:0:root:/:/bin/sh\n"


@pytest.fixture(scope="session")
def busybox_image(client: DockerClient) -> Iterator[str]:
    """Busybox, and nothing else."""
    program = shutil.which("busybox")
    if program is None:
        pytest.skip("needs busybox on this machine: the Debian package busybox or busybox-static")
    names = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split()
    links = {f"bin/{name}": "busybox" for name in names if name != "busybox"}
    with _imported(client, _program(program, "bin/busybox"), links) as image:
        yield image


@pytest.fixture(scope="session")
def only_sh_image(client: DockerClient) -> Iterator[str]:
    """A shell, and no other program."""
    program = shutil.which("dash")
    if program is None:
        pytest.skip("needs dash on this machine")
    with _imported(client, _program(program, "bin/sh")) as image:
        yield image


@pytest.fixture(scope="session")
def no_shell_image(client: DockerClient) -> Iterator[str]:
    """A file."""
    with _imported(client, {"etc/hello": b"hello\n"}) as image:
        yield image


@pytest.fixture(scope="session")
def no_bash_image(client: DockerClient) -> Iterator[str]:
    """The base image, with dash and all its programs, without bash."""
    with _changed(client, "rm /bin/bash") as image:
        yield image


@pytest.fixture(scope="session")
def bash_as_sh_image(client: DockerClient) -> Iterator[str]:
    """The base image with bash for /bin/sh, as Fedora has it."""
    with _changed(client, "ln -sf bash /bin/sh") as image:
        yield image


@pytest.fixture(scope="session")
def user_image(client: DockerClient) -> Iterator[str]:
    """The base image with another user than root."""
    with _changed(client, "useradd -m -u 1234 worker", "USER worker") as image:
        yield image


@contextmanager
def _imported(client: DockerClient, files: dict[str, bytes], links: dict[str, str] | None = None) -> Generator[str]:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as members:
        for folder in ("tmp", "proc", "dev", "sys", "etc"):
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            members.addfile(member)
        for name, data in {"etc/passwd": _PASSWD, **files}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            members.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            members.addfile(member)
    repository = f"test-{secrets.token_hex(4)}"
    api: Any = client.api
    api.import_image_from_data(archive.getvalue(), repository=repository, tag="1")
    with _removed(client, f"{repository}:1") as image:
        yield image


@contextmanager
def _changed(client: DockerClient, command: str, *changes: str) -> Generator[str]:
    container: Any = client.containers.create(BASE, ["sh", "-c", command], network_mode="none")
    try:
        container.start()
        assert container.wait()["StatusCode"] == 0
        repository = f"test-{secrets.token_hex(4)}"
        container.commit(repository, "1", changes="\n".join(('CMD ["sh"]', *changes)))
    finally:
        container.remove(force=True)
    with _removed(client, f"{repository}:1") as image:
        yield image


@contextmanager
def _removed(client: DockerClient, image: str) -> Generator[str]:
    try:
        yield image
    finally:
        api: Any = client.api
        api.remove_image(image, force=True)


def _program(path: str, name: str) -> dict[str, bytes]:
    """A program with the libraries that it needs."""
    needed = subprocess.run(["ldd", path], check=False, capture_output=True, text=True).stdout
    libraries = {word for line in needed.splitlines() for word in line.split() if word.startswith("/")}
    return {name: Path(path).read_bytes(), **{library[1:]: Path(library).read_bytes() for library in libraries}}
