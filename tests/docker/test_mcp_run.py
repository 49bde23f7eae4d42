"""Tools of an MCP server in a run of a benchmark."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from real_things import VENV, Console

from evals.swebench.dataset import Row
from results.records.events import ToolResultEvent
from results.run_directory import list_runs
from results.trajectory import read_trajectory

SERVER = Path(__file__).parents[1] / "unit" / "mcp_server.py"


def test_every_trial_has_them_and_the_manifest_says_so(
    console: Console, demo_rows: dict[str, Row], tmp_path: Path, write_script: Callable[..., str]
) -> None:
    dataset, runs = tmp_path / "rows.json", tmp_path / "runs"
    dataset.write_text(json.dumps([demo_rows["lapse"].model_dump(mode="json")]), "utf-8")
    backend = write_script(
        {"content": "", "tool_calls": [{"name": "sums__add", "arguments": {"a": 40, "b": 2}}]}, {"content": "Done."}
    )
    done = console.run(
        [
            *(str(VENV / "bin" / "evals"), "swebench", "--dataset", str(dataset), "--runs", str(runs)),
            *("--backend", backend, "--mcp", f"sums={sys.executable} {SERVER} stdio"),
        ]
    )
    assert done.code == 0, done.err
    (run,) = list_runs(runs).found
    assert run.manifest.agent.mcp == [{"name": "sums", "transport": "stdio", "command": sys.executable}]
    (trial,) = run.trials()
    (directory,) = trial.tries()
    events = read_trajectory(directory.trajectory_path)
    assert [event.sent["content"] for event in events if isinstance(event, ToolResultEvent)] == ["sums__add: ok\n42"]


def test_a_key_of_a_server_reaches_no_record(
    console: Console, demo_rows: dict[str, Row], tmp_path: Path, write_script: Callable[..., str]
) -> None:
    """Though nothing in the name of its variable says that it is one."""
    secret = "hunter2-hunter2-xyz"
    dataset, runs, servers = tmp_path / "rows.json", tmp_path / "runs", tmp_path / "servers.json"
    dataset.write_text(json.dumps([demo_rows["lapse"].model_dump(mode="json")]), "utf-8")
    server = {"command": sys.executable, "args": [str(SERVER), "stdio"], "env": {"MY_LOGIN": "${MCP_LOGIN}"}}
    servers.write_text(json.dumps({"mcpServers": {"keyed": server}}), "utf-8")
    backend = write_script(
        {"content": "", "tool_calls": [{"name": "keyed__environment", "arguments": {}}]}, {"content": "Done."}
    )
    evals = str(VENV / "bin" / "evals")
    done = console.run(
        [
            *(evals, "swebench", "--dataset", str(dataset), "--runs", str(runs), "--backend", backend),
            *("--mcp-file", str(servers)),
        ],
        MCP_LOGIN=secret,
    )
    assert done.code == 0, done.err
    written = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    assert any(b"MY_LOGIN=[redacted]" in data for data in written.values())
    assert [path for path, data in written.items() if secret.encode() in data] == []
