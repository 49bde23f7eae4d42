"""What a task hands to its agent beside the instruction: tools of MCP servers, skills, an earlier conversation."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from real_things import VENV, Console, Done
from test_terminal_bench import SUITE

from results.records.events import MessageEvent, ResponseEvent, StartEvent, ToolResultEvent
from results.run_directory import RunDirectory, TrialDirectory, list_runs
from results.trajectory import read_trajectory

KEY = "hunter2-hunter2-xyz"
BALANCE = 4862756
"""What `bank --branch north` answers for account 4711; the task's own test works it out anew."""

OVER_HTTP = """
import http.server, json

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        results = {
            "initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                           "serverInfo": {"name": "here", "version": "1"}},
            "tools/list": {"tools": [{"name": "who", "inputSchema": {"type": "object"}}]},
            "tools/call": {"content": [{"type": "text", "text":
                f"{self.headers['Host']} {self.client_address[0]} {self.headers['X-Key'] == 'hunter2-hunter2-xyz'}"}]},
        }
        self.send_response(200 if "id" in request else 202)
        self.send_header("Content-Type", "application/json")
        found = results.get(request["method"])
        said = {"result": found} if found else {"error": {"code": -32601, "message": "no such method"}}
        body = json.dumps({"jsonrpc": "2.0", "id": request["id"], **said}) if "id" in request else ""
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def do_GET(self):
        self.send_error(405)
    def log_message(self, *words):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", 8123), Handler).serve_forever()
"""
TASK = """
[environment]
docker_image = "unbroken/base:1"
workdir = "/app"
network_mode = "no-network"
[environment.healthcheck]
command = "(setsid python3 /app/server.py >/dev/null 2>&1 &); sleep 0.5; bash -c '</dev/tcp/127.0.0.1/8123'"
[[environment.mcp_servers]]
name = "here"
transport = "streamable-http"
url = "http://localhost:8123/mcp"
headers = { X-Key = "${HERE_LOGIN}" }
"""


def bash(command: str) -> dict[str, Any]:
    return {"tool_calls": [{"name": "bash", "arguments": {"command": command}}]}


DONE: dict[str, Any] = {"content": "Done."}
CONVERSATIONS: list[dict[str, Any]] = [
    {
        "when": "account 4711",
        "replies": [
            {"tool_calls": [{"name": "bank__balance", "arguments": {"account": "4711"}}]},
            bash(f"echo {BALANCE} >balance.txt"),
            DONE,
        ],
    },
    {"when": "invoice 17", "replies": [bash("cat /opt/skills/invoices/SKILL.md; echo R26/0017 >number.txt"), DONE]},
    # Two turns were held before.
    {"when": "Which words are in", "replies": [DONE, DONE, bash("echo plover >word.txt"), DONE]},
    {"when": "Ask here.", "replies": [{"tool_calls": [{"name": "here__who", "arguments": {}}]}, DONE]},
]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks"
    for name in ("asks-a-server", "house-rules", "goes-on"):
        shutil.copytree(SUITE / name, folder / name)
    task = folder / "over-http"
    for name, text in (
        ("task.toml", TASK),
        ("instruction.md", "Ask here."),
        ("environment/server.py", OVER_HTTP),
        ("tests/test.sh", "#!/bin/sh\n! pgrep -x bank && echo 1 >/logs/verifier/reward.txt\n"),
    ):
        (task / name).parent.mkdir(parents=True, exist_ok=True)
        (task / name).write_text(text)
    return folder


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "script.yaml"
    path.write_text(yaml.safe_dump({"scripted": "guest", "conversations": CONVERSATIONS}))
    return f"scripted:{path}"


def evaluate(console: Console, dataset: Path, runs: Path, *more: str, **environment: str) -> Done:
    command = [str(VENV / "bin" / "evals"), "terminal-bench", "--dataset", str(dataset), "--runs", str(runs)]
    return console.run([*command, *more], **environment)


def events(trials: dict[str, TrialDirectory], name: str) -> list[Any]:
    return list(read_trajectory(trials[name].tries()[-1].trajectory_path))


def messages(trials: dict[str, TrialDirectory], name: str) -> list[dict[str, Any]]:
    kinds = (MessageEvent, ResponseEvent, ToolResultEvent)
    return [event.sent for event in events(trials, name) if isinstance(event, kinds) and event.sent]


def trials_of(run: RunDirectory) -> dict[str, TrialDirectory]:
    return {trial.task_id.rpartition("/")[2]: trial for trial in run.trials()}


def test_the_agent_has_what_the_task_hands_on(console: Console, dataset: Path, script: str, tmp_path: Path) -> None:
    done = evaluate(console, dataset, tmp_path / "runs", "--backend", script, HERE_LOGIN=KEY)

    assert done.code == 0, done
    (run,) = list_runs(tmp_path / "runs").found
    trials = trials_of(run)
    assert {name: trial.verdicts()[0].reward for name, trial in trials.items()} == dict.fromkeys(trials, 1.0)

    started = next(event for event in events(trials, "asks-a-server") if isinstance(event, StartEvent))
    assert "bank__balance" in [tool["function"]["name"] for tool in started.tools]
    assert f"bank__balance: ok\n{BALANCE}" in [message["content"] for message in messages(trials, "asks-a-server")]
    assert "here__who: ok\nlocalhost:8123 127.0.0.1 True" in [
        message["content"] for message in messages(trials, "over-http")
    ]

    told = messages(trials, "house-rules")[1]["content"]
    skills = (
        "* invoices: How invoices are numbered and laid out in this house. (/opt/skills/invoices/SKILL.md)\n* letters"
    )
    assert "invoice 17" in told
    assert skills in told

    conversation = messages(trials, "goes-on")[:6]
    assert [message["role"] for message in conversation] == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert conversation[2]["reasoning_content"] == "I look into the file first."
    assert conversation[2]["tool_calls"][0]["function"]["name"] == "read"
    assert conversation[3] == {"role": "tool", "tool_call_id": "call_1", "content": "heron\nplover\nsnipe"}
    assert "Write the word that we agreed on" in conversation[5]["content"]

    written = [path for path in (tmp_path / "runs").rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert written == []


def test_what_an_agent_cannot_be_handed_is_refused_by_name(
    console: Console, dataset: Path, script: str, tmp_path: Path
) -> None:
    broken = json.loads((dataset / "goes-on" / "trajectory.json").read_text())
    broken["steps"][1]["message"] = [{"type": "image", "source": {"media_type": "image/png", "path": "a.png"}}]
    shutil.copytree(dataset / "goes-on", dataset / "shown")
    (dataset / "shown" / "trajectory.json").write_text(json.dumps(broken))
    settings = dataset / "shown" / "task.toml"
    settings.write_text(settings.read_text().replace("unbroken/goes-on", "unbroken/shown"))

    done = evaluate(console, dataset, tmp_path / "runs", "--backend", script, "--agent", "terminus")

    assert done.code == 2, done
    for line in (
        "shown: trajectory.json: step 2 holds a picture, and only text can be handed on",
        "unbroken/goes-on: trajectory.json: the agent terminus cannot go on from an earlier conversation",
        "unbroken/asks-a-server: task.toml, environment.mcp_servers: the agent terminus cannot be given the tools",
        "over-http: task.toml, environment.mcp_servers: the agent terminus cannot be given the tools",
    ):
        assert line in done.err, done
