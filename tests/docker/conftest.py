"""What tests with containers share: the engine, and the demo suite's images."""

import asyncio
import os
from collections.abc import Iterator

import pytest
from docker import DockerClient

from evals.demo.suite import build_images, load_rows
from evals.swebench.dataset import Row
from runners.docker_engine import connect

# Needs material that the repository does not hold.
collect_ignore = [] if os.environ.get("UNBROKEN_LONG") else ["test_real_instances.py", "test_real_terminal_tasks.py"]


@pytest.fixture(scope="session")
def client() -> Iterator[DockerClient]:
    connected = connect()
    yield connected
    connected.close()


@pytest.fixture(scope="session")
def demo_images(client: DockerClient) -> None:
    asyncio.run(build_images(client))


@pytest.fixture
def demo_rows(demo_images: None) -> dict[str, Row]:
    """The rows of the demo suite by the short names of their tasks, with their images built."""
    rows = [Row.model_validate(row) for row in load_rows()]
    return {row.instance_id.split("__")[1].rpartition("-")[0]: row for row in rows}
