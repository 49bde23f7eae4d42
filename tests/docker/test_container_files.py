"""Files of a container: whose they are, what is no file, and trees in both directions."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from container_images import user_image
from docker import DockerClient

from agent.sandboxes import SandboxChoice, open_sandbox
from agent.workspace import Checkout
from runners.docker_sandbox import ContainerSettings, DockerSandbox
from tools.sandbox import Sandbox, SandboxError

__all__ = ["user_image"]

SETTINGS = ContainerSettings(image="unbroken/base:1", directory="/srv/repository", run="test-files")


@pytest.fixture
async def sandbox(client: DockerClient) -> AsyncIterator[DockerSandbox]:
    opened = await DockerSandbox.start(client, SETTINGS)
    yield opened
    await opened.close()


async def printed(sandbox: Sandbox, command: str) -> str:
    return (await sandbox.shell(command, timeout=60)).output.decode()


# -- single files


@pytest.mark.parametrize("path", ["/tmp/pipe", "/dev/zero", "/dev/tty", "/tmp/socket"])
async def test_what_is_no_file_is_not_read(sandbox: DockerSandbox, path: str) -> None:
    socket = "import socket; socket.socket(socket.AF_UNIX).bind('/tmp/socket')"
    await printed(sandbox, f'mkfifo /tmp/pipe; python3 -c "{socket}"')
    with pytest.raises(OSError, match="not a file with content"):
        await sandbox.read_bytes(path, limit=10)
    if path != "/dev/zero":
        with pytest.raises(OSError, match=r"not a file with content|Permission denied|No space"):
            await sandbox.write_bytes(path, b"data")
    with pytest.raises(OSError, match="not a file with content"):
        await sandbox.download(path, Path("/nonexistent"))


async def test_files_without_a_size_are_read_to_their_end(sandbox: DockerSandbox) -> None:
    assert b"Name:\t" in await sandbox.read_bytes("/proc/self/status")
    assert await sandbox.read_bytes("/proc/sys/kernel/ostype", limit=3) == b"Lin"


async def test_a_file_that_cannot_be_read_to_its_end_is_an_error(sandbox: DockerSandbox) -> None:
    with pytest.raises(OSError, match="Input/output"):
        await sandbox.read_bytes("/proc/self/mem", limit=10)


async def test_links_are_followed(sandbox: DockerSandbox) -> None:
    await printed(
        sandbox, "mkdir -p /tmp/d; echo old >/tmp/d/file; ln -s d/file /tmp/link; ln -s nowhere /tmp/dangling"
    )
    await sandbox.write_bytes("/tmp/link", b"new")
    assert await printed(sandbox, "cat /tmp/d/file; readlink /tmp/link") == "newd/file\n"
    with pytest.raises(FileNotFoundError):
        await sandbox.read_bytes("/tmp/dangling")


async def test_names_may_be_odd(sandbox: DockerSandbox) -> None:
    for name in ("-n", "a b", "'\"$(x)`", "ünï", "*", "\\t", "#", "two\nlines\n'"):
        await sandbox.write_bytes(f"/tmp/odd/{name}", name.encode())
        assert await sandbox.read_bytes(f"/tmp/odd/{name}") == name.encode()
    assert await printed(sandbox, "ls /tmp/odd | wc -l") == "10\n"
    assert await sandbox.read_bytes("/tmp/odd/two\nlines\n'") == b"two\nlines\n'"


async def test_a_folder_without_room_or_leave_says_so(client: DockerClient, user_image: str) -> None:
    sandbox = await DockerSandbox.start(client, ContainerSettings(image=user_image, directory="/", run="test-files"))
    try:
        for path in ("/etc/mine", "/etc/passwd", "/etc/new/mine"):
            with pytest.raises(PermissionError):
                await sandbox.write_bytes(path, b"x" * 100_000)
        with pytest.raises(PermissionError):
            await sandbox.read_bytes("/etc/shadow")
        with pytest.raises(PermissionError):
            await sandbox.read_bytes("/root/anything")
        assert (await sandbox.read_bytes("/etc/passwd")).startswith(b"root:")
    finally:
        await sandbox.close()


# -- trees


async def test_every_kind_of_entry_goes_in_and_comes_out(sandbox: DockerSandbox, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "empty").mkdir(parents=True)
    (source / "deep" / ("d" * 120) / ("e" * 120)).mkdir(parents=True)
    (source / "deep" / ("d" * 120) / ("e" * 120) / "file").write_bytes(b"deep")
    (source / "tool").write_bytes(b"#!/bin/sh\n")
    (source / "tool").chmod(0o755)
    (source / "ünïcode 文件").write_bytes(b"u")
    (source / os.fsdecode(b"bytes\xff")).write_bytes(b"b")
    os.link(source / "tool", source / "tool again")
    (source / "link").symlink_to("deep")
    (source / "long link").symlink_to("x" * 150)
    (source / "absolute").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe")
    (source / "large").write_bytes(os.urandom(3_000_001))
    os.utime(source / "tool", (1_500_000_000, 1_500_000_000))
    await sandbox.upload(source, "/srv/new/place/tree")
    seen = await printed(
        sandbox,
        "cd /srv/new/place/tree; stat -c '%a %Y %h %U' tool; readlink link 'long link' absolute | tail -c 20; "
        "find . -type p; cat deep/*/*/file ün* bytes*; ls -A empty; cmp large large && echo same",
    )
    assert seen == f"755 1500000000 2 root\n{'x' * 7}\n/etc/passwd\ndeepubsame\n"
    await printed(
        sandbox,
        'mkfifo /srv/new/place/tree/other; cd /srv/new/place/tree; python3 -c \'open("hole", "w").truncate(9)\'',
    )
    await sandbox.download("/srv/new/place/tree", tmp_path / "back")
    back = tmp_path / "back"
    assert (back / "large").read_bytes() == (source / "large").read_bytes()
    assert (back / "deep" / ("d" * 120) / ("e" * 120) / "file").read_bytes() == b"deep"
    assert (back / "tool").stat().st_mode & 0o777 == 0o755
    assert (back / "tool").stat().st_mtime == 1_500_000_000
    assert (back / "tool").samefile(back / "tool again")
    assert (back / "hole").read_bytes() == bytes(9)
    assert (back / "link").readlink() == Path("deep")
    names = {name.name for name in source.iterdir()} - {"pipe", "absolute"} | {"hole"}
    assert {name.name for name in back.iterdir()} == names


async def test_a_copy_goes_over_what_is_there(sandbox: DockerSandbox, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"new")
    await printed(sandbox, "mkdir -p /srv/tree/file; touch /srv/tree/stays")
    await sandbox.upload(tmp_path / "tree", "/srv/tree")
    assert await printed(sandbox, "cat /srv/tree/file; ls /srv/tree") == "newfile\nstays\n"
    for _ in range(2):
        await sandbox.download("/srv/tree", tmp_path / "back")
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == ["file", "stays"]


async def test_a_link_is_followed_to_what_is_copied(sandbox: DockerSandbox, tmp_path: Path) -> None:
    await printed(sandbox, "mkdir /srv/a; echo here >/srv/a/file; ln -s /srv/a /srv/b; ln -s /srv/a/file /srv/c")
    await sandbox.download("/srv/b", tmp_path / "b")
    await sandbox.download("/srv/c", tmp_path / "c")
    assert (tmp_path / "b" / "file").read_bytes() == (tmp_path / "c").read_bytes() == b"here\n"


async def test_what_is_missing_or_cannot_be_written_here_is_told(sandbox: DockerSandbox, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await sandbox.download("/srv/missing", tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        await sandbox.upload(tmp_path / "missing", "/srv/x")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        await sandbox.download("/etc", tmp_path / "file" / "below")
    for target in ("/etc/passwd/below", "/etc/passwd/below/it"):
        with pytest.raises(NotADirectoryError):
            await sandbox.upload(tmp_path / "file", target)
    assert await printed(sandbox, "echo here") == "here\n"


async def test_a_copy_from_a_container_that_is_gone_is_an_error_of_the_sandbox(
    client: DockerClient, sandbox: DockerSandbox, tmp_path: Path
) -> None:
    client.containers.get(sandbox.container_id).kill()
    with pytest.raises(SandboxError):
        await sandbox.download("/etc", tmp_path / "etc")
    with pytest.raises(SandboxError):
        await sandbox.upload(tmp_path, "/srv/x")


async def test_what_is_copied_belongs_to_the_user_of_the_image(
    client: DockerClient, user_image: str, tmp_path: Path
) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "file").write_bytes(b"1")
    settings = ContainerSettings(image=user_image, directory="/workspace/sub", run="test-files")
    sandbox = await DockerSandbox.start(client, settings)
    try:
        await sandbox.upload(tmp_path / "tree", "/workspace")
        assert await printed(sandbox, "stat -c %U /workspace . file; id -un") == "worker\n" * 4
        await sandbox.upload(tmp_path / "tree", "/made/for/it")
        assert await printed(sandbox, "stat -c %U /made /made/for /made/for/it/sub") == "worker\n" * 3
        await sandbox.write_bytes("/workspace/new/file", b"2")
        assert await printed(sandbox, "touch other; echo 2 >file; stat -c %U /workspace/new/file") == "worker\n"
    finally:
        await sandbox.close()


async def test_a_repository_is_given_to_the_user_of_the_image(user_image: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    async with open_sandbox(SandboxChoice(f"docker:{user_image}"), Checkout(str(tmp_path), "", True)) as sandbox:
        assert await printed(sandbox, "id -un; echo 2 >file && touch new && stat -c %U . new") == "worker\n" * 3
