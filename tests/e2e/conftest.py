"""What runs of `evals` need that are tested as a whole."""

import asyncio
import json
from pathlib import Path

import pytest

from evals.demo.suite import build_images, load_rows
from runners.docker_engine import connect


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two instances, whose images are there."""
    rows = [row for row in load_rows() if "tally" in row["instance_id"] or "lapse" in row["instance_id"]]
    client = connect()
    asyncio.run(build_images(client, rows))
    client.close()
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows), "utf-8")
    return path
