"""`--agent command:…`: an agent in the container earns its reward through the relay, and never sees the key."""

import json
import secrets
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from real_things import VENV, Console, Done, calls, fault

from agent.relay.ledger import REQUESTS
from evals.command_agent import COMMAND_OUTPUT, INSTALL_OUTPUT
from evals.swebench.dataset import Row
from results.json_lines import read_lines
from results.records.outcome import TryEnd
from results.records.relay import RelayedRequest
from results.records.verdict import Verdict
from results.run_directory import RunDirectory, list_runs
from results.trajectory import read_trajectory

MARK = "plant3d"
WRITE = "echo hello >/app/hello.txt"
TEST = """#!/bin/bash
if [ "$(cat /app/hello.txt)" = hello ]; then echo 1; else echo 0; fi >/logs/verifier/reward.txt
"""
TINY = r"""#!/bin/bash
# An agent without any program but bash and sed: it asks, runs what it is told, and asks again.
host=${OPENAI_BASE_URL#http://}; host=${host%%/*}
messages='{"role":"user","content":"'$(cat "$UNBROKEN_INSTRUCTION_FILE")'"}'
while :; do
  body='{"model":"'$OPENAI_MODEL'","messages":['$messages']}'
  exec 3<>"/dev/tcp/${host%:*}/${host#*:}"
  printf 'POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n' \
    "$host" "$OPENAI_API_KEY" "${#body}" >&3
  printf 'Connection: close\r\n\r\n%s' "$body" >&3
  answer=$(cat <&3)
  case $answer in *" 200 OK"*) ;; *) echo "refused: $answer"; exit 3;; esac
  message=$(sed -n 's/.*"message": \(.*\), "finish_reason".*/\1/p' <<<"$answer")
  call=$(sed -n 's/.*"id": "\(call_[^"]*\)".*/\1/p' <<<"$message")
  [ "$call" ] || { echo "it is done"; exit 0; }
  bash -c "$(sed -n 's/.*\\"command\\": \\"\(.*\)\\"}".*/\1/p' <<<"$message")"
  messages=$messages,$message,'{"role":"tool","tool_call_id":"'$call'","content":"ok"}'
done
"""
INSTALL = f"printf %s {shlex.quote(TINY)} >/usr/local/bin/tiny; chmod +x /usr/local/bin/tiny; echo installed"
LOOK = (
    'echo "seen: $( (env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; find / /dev/shm -xdev -type f -mmin -60'
    " -print0 | xargs -0 cat) 2>/dev/null | tr '\\0' '\\n' | grep -ac 'plant[3]d')\""
)
REPLIES = ({"reasoning": "It wants a file, so I write one.", **calls(WRITE)}, {"content": "It is done."})


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def evaluate(console: Console, runs: Path, tmp_path: Path) -> Callable[..., Done]:
    def run(agent: str, *arguments: str, network: str = "no-network", timeout: float = 60, user: str = "") -> Done:
        network, _, its_own = network.partition(", then ")
        task = tmp_path / "task"
        (task / "tests").mkdir(parents=True)
        (task / "task.toml").write_text(
            f"[agent]\ntimeout_sec = {timeout}\n"
            + (f'user = "{user}"\n' if user else "")
            + (f'network_mode = "{its_own}"\n' if its_own else "")
            + "[verifier]\ntimeout_sec = 20\n[environment]\n"
            f'docker_image = "unbroken/base:1"\nworkdir = "/app"\nnetwork_mode = "{network}"\n'
            + ('allowed_hosts = ["allowed.invalid"]\n' if network == "allowlist" else "")
        )
        (task / "instruction.md").write_text("Write hello.\n")
        (task / "tests" / "test.sh").write_text(TEST)
        start = [str(VENV / "bin" / "evals"), "terminal-bench", "--dataset", str(task), "--runs", str(runs)]
        key = f"sk-{MARK}-{secrets.token_hex(8)}"
        return console.run([*start, "--agent", f"command:{agent}", *arguments], UNBROKEN_API_KEY=key)

    return run


def only_run(runs: Path) -> RunDirectory:
    (run,) = list_runs(runs).found
    return run


def only_trial(runs: Path) -> tuple[TryEnd, list[Verdict], Path]:
    (trial,) = only_run(runs).trials()
    last = trial.tries()[-1]
    end = last.end()
    assert end is not None
    return end, trial.verdicts(), last.artifacts


@pytest.mark.parametrize("network", ["no-network", "public", "allowlist", "public, then no-network"])
def test_a_command_earns_its_reward_through_the_relay(
    evaluate: Callable[..., Done],
    runs: Path,
    write_script: Callable[..., str],
    console: Console,
    tmp_path: Path,
    network: str,
) -> None:
    backend = write_script(*REPLIES)

    done = evaluate(f"tiny; {LOOK}", "--agent-install", INSTALL, "--backend", backend, network=network)

    assert done.code == 0, done
    end, (verdict,), folder = only_trial(runs)
    assert (verdict.reward, verdict.flags) == (1, []), end
    assert (end.outcome.exit, end.outcome.error, end.outcome.detail) == ("submitted", None, "")
    assert end.outcome.steps == 2
    assert end.outcome.usage.output_tokens
    assert end.outcome.usage.unreported == 0
    assert end.outcome.counts == {"conversation": 1, "prefix_kept": 1, "thinking_kept": 1}
    assert (folder / COMMAND_OUTPUT).read_text() == "it is done\nseen: 0\n"
    assert (folder / INSTALL_OUTPUT).read_text() == "installed\n"
    requests = list(read_lines(folder / REQUESTS, TypeAdapter(RelayedRequest)))
    assert [(request.relation, request.status) for request in requests] == [("begins", 200), ("extends", 200)]
    events = [event.type for event in read_trajectory(folder.parent / "trajectory.jsonl")]
    assert events == ["start", "message", "request", "response", "tool_result", "request", "response", "end"]
    manifest = only_run(runs).manifest
    assert manifest.agent.name == "command"
    assert manifest.agent.command == f"tiny; {LOOK}"
    assert manifest.agent.install == INSTALL
    assert manifest.backend
    assert manifest.backend.model.startswith("scripted/")
    assert [path for path in tmp_path.rglob("*") if path.is_file() and MARK.encode() in path.read_bytes()] == []
    assert MARK not in done.out + done.err
    if network == "public":
        shown = console.run([str(VENV / "bin" / "results"), "show", manifest.run_id, "--runs", str(runs)])
        assert "1 request that went on with what was sent before" in shown.out
        assert "1 turn whose thinking came back as it was" in shown.out


def test_a_limit_is_that_of_the_trial_and_what_was_done_is_judged(
    evaluate: Callable[..., Done], runs: Path, write_script: Callable[..., str]
) -> None:
    backend = write_script(*REPLIES)

    done = evaluate("tiny", "--agent-install", INSTALL, "--backend", backend, "--max-steps", "1")

    assert done.code == 0, done
    end, (verdict,), folder = only_trial(runs)
    assert verdict.reward == 1
    assert (end.outcome.exit, end.outcome.steps) == ("limit:steps", 1)
    assert "429" in (folder / COMMAND_OUTPUT).read_text()


def test_a_backend_that_fails_is_no_zero(
    evaluate: Callable[..., Done], runs: Path, write_script: Callable[..., str]
) -> None:
    backend = write_script(fault(status=500, times=9), *REPLIES)

    done = evaluate("tiny", "--agent-install", INSTALL, "--backend", backend, "--allow-lost-thinking")

    assert done.code == 1, done
    end, found, _ = only_trial(runs)
    assert not found
    assert (end.outcome.exit, end.outcome.error) == ("error", "backend")
    assert "answered 500" in end.outcome.detail


def test_an_agent_that_cannot_be_installed_is_no_zero(
    evaluate: Callable[..., Done], runs: Path, write_script: Callable[..., str]
) -> None:
    install = "echo no such package; exit 100"
    done = evaluate("tiny", "--agent-install", install, "--backend", write_script(*REPLIES), "--tries", "1")

    assert done.code == 1, done
    end, found, folder = only_trial(runs)
    assert not found
    assert end.outcome.error == "sandbox"
    assert end.outcome.detail == "the agent could not be installed (exit 100): no such package"
    assert (folder / INSTALL_OUTPUT).read_text() == "no such package\n"


def test_a_command_that_takes_too_long_finishes_nothing(
    evaluate: Callable[..., Done], runs: Path, write_script: Callable[..., str]
) -> None:
    late = f"echo begun; (sleep 4; {WRITE}) & setsid bash -c 'sleep 4; {WRITE}' & sleep 4; {WRITE}"

    done = evaluate(late, "--backend", write_script(*REPLIES), timeout=2)

    assert done.code == 0, done
    end, (verdict,), folder = only_trial(runs)
    assert (end.outcome.exit, verdict.reward) == ("limit:time", 0)
    assert not end.left_running
    assert (folder / COMMAND_OUTPUT).read_text() == "begun\n"


def test_a_command_that_fails_is_judged_and_services_stay(
    evaluate: Callable[..., Done], runs: Path, write_script: Callable[..., str]
) -> None:
    done = evaluate(f"{WRITE}; sleep 600 & echo $UNBROKEN_TIME_LIMIT; exit 7", "--backend", write_script(*REPLIES))

    assert done.code == 0, done
    end, (verdict,), folder = only_trial(runs)
    assert verdict.reward == 1
    assert end.outcome.detail == "the command ended with 7; it asked the model for nothing"
    assert end.left_running == ["sleep 600"]
    assert (folder / COMMAND_OUTPUT).read_text() == "60\n"
    assert json.loads((only_run(runs).path / "run.json").read_text())["agent"]["install"] is None


def test_the_user_that_a_task_has_for_agents_runs_the_command(
    evaluate: Callable[..., Done], runs: Path, write_script: Callable[..., str]
) -> None:
    look = 'id -un; cat "$UNBROKEN_INSTRUCTION_FILE"'

    done = evaluate(look, "--agent-install", "id -un", "--backend", write_script(*REPLIES), user="nobody")

    assert done.code == 0, done
    _, _, folder = only_trial(runs)
    assert (folder / INSTALL_OUTPUT).read_text() == "nobody\n"
    assert (folder / COMMAND_OUTPUT).read_text() == "nobody\nWrite hello.\n"


def test_a_repository_is_worked_on_by_a_command_too(
    console: Console, runs: Path, demo_rows: dict[str, Row], tmp_path: Path, write_script: Callable[..., str]
) -> None:
    row = demo_rows["lapse"]
    (tmp_path / "rows.json").write_text(json.dumps([row.model_dump(mode="json")]))
    backend = write_script(calls("echo worked >note.txt"), {"content": "It is done."})
    agent = 'cat "$UNBROKEN_INSTRUCTION_FILE"; echo Work. >"$UNBROKEN_INSTRUCTION_FILE"; tiny'
    start = [str(VENV / "bin" / "evals"), "swebench", "--dataset", str(tmp_path / "rows.json"), "--runs", str(runs)]

    done = console.run(
        [*start, "--agent", f"command:{agent}", "--agent-install", INSTALL, "--backend", backend],
        UNBROKEN_API_KEY=f"sk-{MARK}",
    )

    assert done.code == 0, done
    end, verdicts, folder = only_trial(runs)
    assert [verdict.status for verdict in verdicts] == ["graded", "graded"]
    assert end.outcome.counts["prefix_kept"] == 1
    assert "+worked" in (folder.parent / "patch.diff").read_text()
    assert (folder / COMMAND_OUTPUT).read_text() == row.problem_statement + "it is done\n"
    manifest = only_run(runs).manifest
    assert (manifest.agent.name, manifest.sandbox["network"]) == ("command", "none")
