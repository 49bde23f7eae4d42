"""Tasks whose phases have networks of their own, and whose steps have users of their own."""

import json
import os
import shutil
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from docker import DockerClient
from real_things import VENV, Console, Done, calls

from evals.janitor import Janitor
from evals.terminal_bench.environment import Networks, TaskContainers, TaskLimits
from evals.terminal_bench.image import TaskImages
from evals.terminal_bench.judging import OFFICIAL, Judging, SetupFailedError, Workplace
from evals.terminal_bench.part import parts_of
from evals.terminal_bench.task_directory import read_task
from evals.terminal_bench.trial_container import TrialContainer
from results.run_directory import TrialDirectory, list_runs
from tools.sandbox import SandboxError

CLOSED = os.geteuid() == 0 and shutil.which("iptables") is not None
"""Whether services of this machine are closed to containers of an allowlist."""
PROBE = r"""
import getpass, json, os, socket, sys, urllib.error, urllib.request

def connects(host, port):
    try:
        socket.create_connection((host, port), 5).close()
    except OSError:
        return False
    return True

def through_proxy(url):
    proxies = {"http": os.environ.get("http_proxy", "http://127.0.0.1:9")}
    try:
        return urllib.request.build_opener(urllib.request.ProxyHandler(proxies)).open(url, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0

rows = [line.split() for line in open("/proc/net/route").read().splitlines()[1:]]
gateways = [socket.inet_ntoa(bytes.fromhex(row[2])[::-1]) for row in rows if row[1] == "00000000"]
port = int(os.environ["SERVED"])
for name in ("no_proxy", "NO_PROXY"):
    os.environ.pop(name, None)
found = {
    "user": getpass.getuser(),
    "proxy": "http_proxy" in os.environ,
    "gateway": bool(gateways),
    "direct": any(connects(gateway, port) for gateway in gateways),
    "allowed": through_proxy(f"http://127.0.0.1:{port}/"),
    "refused": through_proxy("http://other.invalid/"),
    "service": [connects("localhost", 8000), bool(gateways) and connects(socket.gethostname(), 8000)],
}
json.dump(found, open(f"/tmp/{sys.argv[1]}.json", "w"))
"""
NOTHING = {"proxy": False, "gateway": False, "direct": False, "allowed": 0, "refused": 0}
LISTED = {"proxy": True, "gateway": True, "direct": not CLOSED, "allowed": 200, "refused": 403}
EVERYTHING = {"proxy": False, "gateway": True, "direct": True, "allowed": 0, "refused": 0}
TESTS = (
    "#!/bin/bash\npython3 /app/probe.py tests-$1; cp /tmp/*.json /logs/verifier; echo 1 >/logs/verifier/reward.txt\n"
)


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass


@pytest.fixture
def served() -> Iterator[int]:
    """The port of a service on all addresses of this machine."""
    with ThreadingHTTPServer(("0.0.0.0", 0), Page) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
    return folder


@pytest.fixture
def evaluate(console: Console, tmp_path: Path) -> Callable[..., Done]:
    def run(task: Path, *arguments: str) -> Done:
        start = [str(VENV / "bin" / "evals"), "terminal-bench", "--dataset", str(task)]
        return console.run([*start, "--runs", str(tmp_path / "runs"), *arguments])

    return run


def only_trial(tmp_path: Path) -> TrialDirectory:
    (run,) = list_runs(tmp_path / "runs").found
    (trial,) = run.trials()
    return trial


def seen(folder: Path) -> dict[str, dict[str, Any]]:
    """What each probe has found, of those whose answers the tests have kept."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((folder / "verifier").glob("*.json"))}


def test_each_phase_has_its_network_and_each_step_its_user(
    evaluate: Callable[..., Done], tmp_path: Path, served: int
) -> None:
    def step(name: str, solution: str) -> dict[str, str]:
        return {
            f"steps/{name}/instruction.md": "Do it.\n",
            f"steps/{name}/workdir/probe.py": PROBE,
            f"steps/{name}/workdir/setup.sh": f"python3 probe.py setup-{name}\n",
            f"steps/{name}/solution/solve.sh": f"#!/bin/bash\npython3 probe.py agent-{name}\n{solution}\n",
            f"steps/{name}/tests/test.sh": TESTS.replace("$1", name),
        }

    task = write(
        tmp_path / "task",
        {
            "task.toml": f"""
                [environment]
                docker_image = "unbroken/base:1"
                workdir = "/app"
                network_mode = "no-network"
                env = {{SERVED = "{served}"}}
                [[steps]]
                name = "one"
                agent = {{user = "nobody", network_mode = "allowlist", allowed_hosts = ["127.0.0.1"]}}
                verifier = {{collect = [{{command = "python3 probe.py hook-one"}}]}}
                [[steps]]
                name = "two"
                agent = {{user = "daemon", network_mode = "public"}}
                verifier = {{network_mode = "allowlist", allowed_hosts = ["127.0.0.1"]}}
                """,
            **step("one", "cd / && nohup python3 -m http.server 8000 >/dev/null 2>&1 &\nsleep 1"),
            **step("two", ""),
        },
    )

    done = evaluate(task, "--agent", "gold", "--verdicts", "both")

    assert done.code == 0, done
    trial = only_trial(tmp_path)
    gone, here, fully = ([False, False], [True, False], [True, True])
    expected = {
        "setup-one": {**NOTHING, "user": "nobody", "service": gone},
        "agent-one": {**LISTED, "user": "nobody", "service": gone},
        "hook-one": {**NOTHING, "user": "nobody", "service": here},
        "tests-one": {**NOTHING, "user": "root", "service": here},
    }
    judged = trial.tries()[-1].artifacts / "steps" / "one"
    assert seen(judged / "judged-official") == expected
    assert seen(judged / "judged-quiesced")["tests-one"] == {**NOTHING, "user": "root", "service": gone}

    expected["tests-one"] = seen(judged / "judged-quiesced")["tests-one"]
    expected |= {
        "setup-two": {**NOTHING, "user": "daemon", "service": here},
        "agent-two": {**EVERYTHING, "user": "daemon", "service": fully},
        "tests-two": {**LISTED, "user": "root", "service": fully},
    }
    found = seen(trial.path / "verdicts" / "1")
    del found["tests-one"], expected["tests-one"]
    assert found == expected
    assert seen(trial.path / "verdicts" / "2")["tests-two"] == {**LISTED, "user": "root", "service": gone}


def test_what_a_model_types_finds_the_proxy_and_a_separate_verifier_has_its_own_network(
    evaluate: Callable[..., Done], tmp_path: Path, served: int, write_script: Callable[..., str]
) -> None:
    task = write(
        tmp_path / "task",
        {
            "task.toml": f"""
                artifacts = ["/tmp/agent.json"]
                [agent]
                network_mode = "allowlist"
                allowed_hosts = ["127.0.0.1"]
                [verifier]
                environment_mode = "separate"
                network_mode = "no-network"
                [environment]
                docker_image = "unbroken/base:1"
                workdir = "/app"
                env = {{SERVED = "{served}"}}
                """,
            "instruction.md": "Do it.\n",
            "tests/probe.py": PROBE,
            "tests/test.sh": TESTS.replace("/app/probe.py", "/tests/probe.py").replace("$1", "alone"),
        },
    )
    script = write_script(
        calls(f"cat >/app/probe.py <<'END'\n{PROBE}\nEND\npython3 /app/probe.py agent"), {"content": "."}
    )

    done = evaluate(task, "--backend", script)

    assert done.code == 0, done
    unserved = [False, False]
    assert seen(only_trial(tmp_path).path / "verdicts" / "1") == {
        "agent": {**LISTED, "user": "root", "service": unserved},
        "tests-alone": {**NOTHING, "user": "root", "service": unserved},
    }


async def test_a_network_that_cannot_be_had_is_an_error_of_the_sandbox_or_the_verifier(
    client: DockerClient, tmp_path: Path
) -> None:
    task = read_task(
        write(
            tmp_path / "task",
            {
                "task.toml": """
                    agent = {network_mode = "allowlist", allowed_hosts = ["one.invalid"]}
                    verifier = {network_mode = "allowlist", allowed_hosts = ["two.invalid"]}
                    environment = {docker_image = "unbroken/base:1", network_mode = "no-network"}
                    """,
                "instruction.md": "Do it.\n",
                "tests/test.sh": "",
            },
        )
    )
    parts = parts_of(task)
    async with AsyncExitStack() as stack:
        containers = TaskContainers(client, Networks(client, "test", stack), TaskLimits(), "test", {})
        container = await TrialContainer.start(containers, task, parts, "unbroken/base:1", "test")
        for network in container.networks.all[1:]:
            client.networks.get(network.name).remove()
        try:
            with pytest.raises(SandboxError, match="not found"):
                await container.for_agent(parts[0])
            judging = Judging(client, Janitor(), TaskImages(client, print), containers, [OFFICIAL])
            work = Workplace(container, None, "there is none", [], tmp_path)
            async with judging.prepared(task, parts[0], work) as examination:
                with pytest.raises(SetupFailedError, match=r"the tests cannot have their network: .* not found"):
                    await examination.judge(OFFICIAL, tmp_path)
        finally:
            await container.sandbox.close()
