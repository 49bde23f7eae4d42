"""The editor's promises, in one container that has no interpreter."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from docker import DockerClient
from editor_at_work import EditorDesk
from editor_promises import EditorPromises

from runners.docker_sandbox import ContainerSettings, DockerSandbox

SETTINGS = ContainerSettings(image="unbroken/base:1", directory="/srv/repository", run="test-editor")
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(client: DockerClient) -> AsyncIterator[DockerSandbox]:
    opened = await DockerSandbox.start(client, SETTINGS)
    # `exec` needs a shell, and nothing needs these.
    await opened.exec("rm -f $(command -v python3 python perl awk mawk)", timeout=20)
    yield opened
    await opened.close()


_numbers = itertools.count(1)


@pytest_asyncio.fixture(loop_scope="module")
async def desk(sandbox: DockerSandbox) -> EditorDesk:
    return EditorDesk(sandbox, f"/srv/desk-{next(_numbers)}")


class TestDockerEditor(EditorPromises):
    """Every promise, in a container."""

    async def test_a_disk_that_is_full_costs_a_file_nothing(self, desk: EditorDesk) -> None:
        desk.folder = "/dev/shm/desk"  # a disk of 64 MB
        before = b"one\n" * 1_000_000
        path, new = await desk.file("a.txt", before + b"end\n"), desk.path("new.txt")
        await desk.run("head -c 100M /dev/zero >filler 2>/dev/null || true")
        problem = "Ran into No space left on device while trying to write to"
        assert await desk.refused("str_replace", path, old_str="end", new_str="x" * 1_000_000) == (
            f"{problem} {path}. The file is as it was before."
        )
        assert await desk.content(path) == before + b"end\n"
        assert await desk.refused("create", new, file_text="x" * 1_000_000) == f"{problem} {new}. Nothing was created."
        await desk.run("rm -f filler && ! ls new.txt 2>/dev/null")
        await desk.done("create", new, file_text="x\n")
        await desk.run("rm -rf /dev/shm/desk")

    async def test_a_directory_is_shown_without_find(self, desk: EditorDesk) -> None:
        await desk.run("mkdir -p b/c .hidden && touch b/c/d b/x 'a b' b/.y .hidden/z && ln -s b link")
        find = (await desk.run("command -v find")).strip()
        with_find = await desk.done("view", desk.folder)
        await desk.run(f"mv {find} {find}.away")
        without_find = await desk.done("view", desk.folder)
        await desk.run(f"mv {find}.away {find}")
        assert without_find == with_find
        assert with_find.count("\n") == 7


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox_of_nobody(client: DockerClient) -> AsyncIterator[DockerSandbox]:
    opened = await DockerSandbox.start(client, replace(SETTINGS, user="nobody"))
    yield opened
    await opened.close()


class TestEditorWithoutRights:
    """What a user is told who may not do everything."""

    @pytest_asyncio.fixture(loop_scope="module")
    async def desk(self, sandbox_of_nobody: DockerSandbox) -> EditorDesk:
        return EditorDesk(sandbox_of_nobody, "/tmp/desk")

    async def test_what_is_not_permitted_is_explained(self, desk: EditorDesk) -> None:
        path = await desk.file("read-only.txt", "one\n")
        await desk.run("chmod 444 read-only.txt; touch secret.txt; chmod 0 secret.txt; mkdir -p closed; chmod 0 closed")
        advice = "`ls -ld` shows who may write to it and to its directory; `chmod u+w` lets the owner."
        assert await desk.refused("str_replace", path, old_str="one", new_str="two") == (
            f"Ran into Permission denied while trying to write to {path}. {advice}"
        )
        assert await desk.refused("undo_edit", path) == f"No edit history found for {path}."
        secret, closed = desk.path("secret.txt"), desk.path("closed")
        assert await desk.refused("view", secret) == f"Ran into Permission denied while trying to read {secret}"
        assert await desk.refused("view", closed) == f"Ran into Permission denied while trying to list {closed}"
        assert await desk.refused("create", "/etc/mine.txt", file_text="x") == (
            f"Ran into Permission denied while trying to write to /etc/mine.txt. {advice}"
        )

    async def test_directories_that_may_not_be_read_are_counted(self, desk: EditorDesk) -> None:
        await desk.run("mkdir -p tree/open tree/one tree/two && touch tree/open/x && chmod 0 tree/one tree/two")
        root = desk.path("tree")
        assert (await desk.done("view", root)).endswith(
            f"\n{root}\n{root}/one\n{root}/open\n{root}/open/x\n{root}/two\n"
            "<NOTE>2 of the directories may not be read.</NOTE>\n"
        )
