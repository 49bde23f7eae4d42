"""The search tools in a container: an image without ripgrep, whose files belong to another user than its shell's."""

from collections.abc import AsyncIterator

import pytest
from docker import DockerClient

from runners.docker_sandbox import ContainerSettings, DockerSandbox
from tools.search import Glob, GlobParameters, Grep, GrepParameters

SETTINGS = ContainerSettings(image="unbroken/base:1", directory="/srv/repository", run="test-search-docker")
FILES = r"""
set -e
cd /srv/repository
mkdir -p src build
printf 'def foo():\n    pass\n' > src/a.py
printf 'def foo(): caf\303\251\n' > b.py
printf 'foo\n' > build/c.py
printf 'foo\n' > .hidden
printf 'foo\000' > binary
echo build/ > .gitignore
"""


@pytest.fixture
async def sandbox(client: DockerClient) -> AsyncIterator[DockerSandbox]:
    opened = await DockerSandbox.start(client, SETTINGS)
    made = await opened.exec(FILES, timeout=30)
    assert made.exit_code == 0, made.output
    yield opened
    await opened.close()


async def test_outside_and_inside_of_a_repository(sandbox: DockerSandbox) -> None:
    async def grep(**arguments: str) -> str:
        return (await Grep()(GrepParameters(pattern=r"def \w+\(", **arguments), sandbox)).text  # pyright: ignore[reportArgumentType]

    expected = "2 matching lines in 2 files\nb.py\n1:def foo(): café\n\nsrc/a.py\n1:def foo():"
    assert await grep() == expected
    outside = (await Glob()(GlobParameters(pattern="*.py"), sandbox)).text
    assert outside == "3 files\nb.py\nbuild/c.py\nsrc/a.py"
    made = await sandbox.exec("git init -q && chown -R 1234:1234 /srv/repository", timeout=30)
    assert made.exit_code in (0, 1)  # some engines let nobody give files away
    assert await grep() == expected
    inside = (await Glob()(GlobParameters(pattern="*.py"), sandbox)).text
    assert inside == "2 files\nb.py\nsrc/a.py"


async def test_what_is_cut_is_kept_in_the_container(sandbox: DockerSandbox) -> None:
    await sandbox.exec("seq 100000 > /srv/repository/numbers", timeout=30)
    text = (await Grep()(GrepParameters(pattern="7$", path="numbers", limit=5), sandbox)).text
    summary, _, shown = text.partition("\n")
    assert summary.startswith("The first 5 of 10000 matching lines in 1 file; all of it is in ")
    assert shown == "numbers\n7:7\n17:17\n27:27\n37:37\n47:47"
    kept = await sandbox.read_bytes(summary.rpartition(" ")[2])
    assert kept.count(b"\n") == 10_001
