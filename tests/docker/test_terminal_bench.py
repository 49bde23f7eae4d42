"""`evals terminal-bench` on real containers: what counts as a reward, and what an agent can do about it."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from container_images import only_sh_image
from docker import DockerClient
from engine_owners import owners
from real_things import VENV, Console, Done, calls

from evals.terminal_bench.image import REPOSITORY as IMAGES
from evals.terminal_bench.image import agent_image
from evals.terminal_bench.task_directory import read_task
from results.records.outcome import TryEnd
from results.records.verdict import Verdict
from results.run_directory import RunDirectory, list_runs
from runners.container import ContainerSettings
from runners.docker_engine import RUN_LABEL
from runners.docker_sandbox import DockerSandbox
from runners.private_room import NoRoomError, PrivateRoom

__all__ = ["only_sh_image"]

SUITE = Path(__file__).parents[2] / "evals" / "terminal_bench" / "suite"
TASKS = sorted(path.parent.name for path in SUITE.glob("*/task.toml"))
SUITE_PATIENCE = 240.0
ZERO = "#!/bin/bash\nsleep 1\necho 0 >/logs/verifier/reward.txt\nsleep 1\n"
FORGING = """cat >/tmp/forge.sh <<'FORGE'
while :; do
  for root in '' /proc/[0-9]*/root; do
    rm -rf "$root/logs/verifier" "$root/logs" "$root/tests"
    mv "$root/logs" "$root/moved"
    mkdir -p "$root/logs/verifier"
    echo 1 >"$root/logs/verifier/reward.txt"
    echo '{"reward": 1}' >"$root/logs/verifier/reward.json"
  done
  for handle in /proc/[0-9]*/fd/[12]; do echo 1 >"$handle"; done
  umount -l /logs
  nsenter -t 1 -m true
  sleep 0.02
done
FORGE
setsid nohup bash /tmp/forge.sh >/dev/null 2>&1 </dev/null & echo forging"""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def evaluate(console: Console, runs: Path) -> Callable[..., Done]:
    def run(dataset: Path, *arguments: str, **environment: str) -> Done:
        start = [str(VENV / "bin" / "evals"), "terminal-bench", "--dataset", str(dataset), "--runs", str(runs)]
        return console.run([*start, *arguments], **environment)

    return run


@pytest.fixture
def make_task(tmp_path: Path) -> Callable[..., Path]:
    def make(test: str = ZERO, *, image: str = "unbroken/base:1", more: str = "", solution: str = "") -> Path:
        task = tmp_path / "task"
        (task / "tests").mkdir(parents=True)
        (task / "task.toml").write_text(
            f"[agent]\ntimeout_sec = 20\n[verifier]\ntimeout_sec = 20\n{more}\n"
            f'[environment]\ndocker_image = "{image}"\nworkdir = "/app"\nnetwork_mode = "no-network"\n'
        )
        (task / "instruction.md").write_text("Do it.\n")
        (task / "tests" / "test.sh").write_text(test)
        if solution:
            (task / "solution").mkdir()
            (task / "solution" / "solve.sh").write_text(f"#!/bin/bash\n{solution}\n")
        return task

    return make


def only_run(runs: Path) -> RunDirectory:
    (run,) = list_runs(runs).found
    return run


def only_trial(runs: Path) -> tuple[TryEnd, list[Verdict], Path]:
    (trial,) = only_run(runs).trials()
    end = trial.tries()[-1].end()
    assert end is not None
    return end, trial.verdicts(), trial.path / "verdicts" / "1"


def verdicts(runs: Path) -> dict[str, Verdict]:
    return {trial.task_id: verdict for trial in only_run(runs).trials() for verdict in trial.verdicts()}


def test_the_suite_is_solved_by_its_solutions(
    evaluate: Callable[..., Done], runs: Path, client: DockerClient, console: Console
) -> None:
    console.patience = SUITE_PATIENCE

    done = evaluate(SUITE, "--agent", "gold", "--verdicts", "both")

    assert done.code == 0, done
    found = {
        (trial.task_id.partition("/")[2], verdict.verifier): (verdict.reward, verdict.status, verdict.flags)
        for trial in only_run(runs).trials()
        for verdict in trial.verdicts()
    }
    expected: dict[tuple[str, str], tuple[float, str, list[str]]] = {
        (name, verifier): (1, "graded", []) for name in TASKS for verifier in ("official", "quiesced")
    }
    assert found == {**expected, ("service-stays", "quiesced"): (0, "graded", [])}, done
    (reported,) = [trial for trial in only_run(runs).trials() if trial.task_id.endswith("/junit-report")]
    assert reported.verdicts()[0].fail_to_pass.passed == [
        "roman_checks::test_units", "roman_checks::test_everything_at_once",
    ]  # fmt: skip
    assert not {owner.process_id for owner in owners(client)} & set(console.process_ids)


def test_the_suite_is_not_solved_by_nothing(evaluate: Callable[..., Done], runs: Path, console: Console) -> None:
    console.patience = SUITE_PATIENCE

    done = evaluate(SUITE, "--agent", "nop")

    assert done.code == 0, done
    found = verdicts(runs)
    assert sorted(name.partition("/")[2] for name in found) == TASKS
    assert {name: verdict.status for name, verdict in found.items()} == dict.fromkeys(found, "graded")
    assert not [name for name, verdict in found.items() if verdict.resolved]
    hook = ["collect: exit 1: cp /app/answer.txt /logs/artifacts/answer.txt"]
    assert {name: verdict.flags for name, verdict in found.items() if verdict.flags} == {"unbroken/baked-tests": hook}


def test_what_still_runs_is_listed_and_then_removed(
    evaluate: Callable[..., Done], runs: Path, client: DockerClient
) -> None:
    done = evaluate(SUITE / "service-stays", "--agent", "gold")

    assert done.code == 0, done
    end, _, _ = only_trial(runs)
    assert end.left_running == ["python3 -u -m http.server 8080"]
    run = only_run(runs).manifest.run_id
    assert not client.containers.list(all=True, filters={"label": f"{RUN_LABEL}={run}"})
    assert "left behind" not in done.err


def test_a_model_works_and_is_judged(
    evaluate: Callable[..., Done], runs: Path, write_script: Callable[..., str]
) -> None:
    script = write_script(calls("echo hello >/app/hello.txt; ls /tests /logs"), {"content": "It is done."})

    done = evaluate(SUITE / "hello-file", "--backend", script)

    assert done.code == 0, done
    (verdict,) = verdicts(runs).values()
    assert verdict.resolved
    manifest = only_run(runs).manifest
    assert manifest.agent.toolset == "bash+editor+terminal"
    assert manifest.verifiers == {"official": "1"}
    trajectory = next(only_run(runs).path.rglob("trajectory.jsonl")).read_text()
    assert "test.sh" not in trajectory
    assert "canary" not in trajectory


def test_each_of_several_rewards_and_tests_is_recorded(evaluate: Callable[..., Done], runs: Path) -> None:
    done = evaluate(SUITE / "several-rewards", "--agent", "gold")

    assert done.code == 0, done
    (verdict,) = verdicts(runs).values()
    assert verdict.rewards == {"works": 1, "documented": 1}
    assert verdict.fail_to_pass.passed == ["works", "documented"]


def test_artifacts_are_kept_and_listed(evaluate: Callable[..., Done], runs: Path) -> None:
    done = evaluate(SUITE / "judged-elsewhere", "--agent", "gold")

    assert done.code == 0, done
    (trial,) = only_run(runs).trials()
    artifacts = trial.tries()[-1].artifacts
    files = sorted(path.relative_to(artifacts).as_posix() for path in artifacts.rglob("*") if path.is_file())
    expected = ["app/report.txt", "data/number.txt", "logs/artifacts/note.txt", "manifest.json", "solution.txt"]
    assert files == expected
    listed = [
        (one["source"], one["type"], one["status"]) for one in json.loads((artifacts / "manifest.json").read_text())
    ]
    assert listed == [
        ("/logs/artifacts", "directory", "ok"),
        ("/app/report.txt", "file", "ok"),
        ("/app/data", "directory", "ok"),
    ]


def test_a_loop_that_the_agent_leaves_cannot_forge_a_reward(
    evaluate: Callable[..., Done], runs: Path, make_task: Callable[..., Path], write_script: Callable[..., str]
) -> None:
    script = write_script(calls(FORGING), {"content": "It is done."})

    done = evaluate(make_task(), "--backend", script)

    assert done.code == 0, done
    _, (verdict,), files = only_trial(runs)
    assert (verdict.reward, verdict.status) == (0, "graded")
    assert (files / "verifier" / "reward.txt").read_text() == "0\n"
    assert not (files / "verifier" / "reward.json").exists()


def test_a_reward_that_lies_there_before_the_tests_is_none(
    evaluate: Callable[..., Done], runs: Path, make_task: Callable[..., Path], write_script: Callable[..., str]
) -> None:
    script = write_script(
        calls("mkdir -p /logs/verifier; echo 1 >/logs/verifier/reward.txt; echo 'echo 1' >/tests/test.sh"),
        {"content": "It is done."},
    )

    done = evaluate(make_task("#!/bin/bash\nexit 3\n"), "--backend", script)

    assert done.code == 0, done
    _, (verdict,), _ = only_trial(runs)
    assert (verdict.reward, verdict.status) == (0, "no_results")
    assert "neither reward.json nor reward.txt; test.sh ended with 3" in verdict.detail


def test_an_agent_that_was_too_slow_finishes_nothing(
    evaluate: Callable[..., Done], runs: Path, make_task: Callable[..., Path]
) -> None:
    solution = "(sleep 3; touch /app/late) & setsid bash -c 'sleep 3; touch /app/late' & sleep 3; touch /app/late"
    test = "#!/bin/bash\nsleep 5\nif [ -e /app/late ]; then echo 1; else echo 0; fi >/logs/verifier/reward.txt\n"
    task = make_task(test, solution=solution)
    (task / "task.toml").write_text((task / "task.toml").read_text().replace("timeout_sec = 20", "timeout_sec = 1", 1))

    done = evaluate(task, "--agent", "gold")

    assert done.code == 0, done
    end, (verdict,), _ = only_trial(runs)
    assert end.outcome.exit == "limit:time"
    assert verdict.reward == 0
    assert verdict.status == "graded"


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_tests_that_name_no_interpreter_are_run_by_bash(
    evaluate: Callable[..., Done], runs: Path, make_task: Callable[..., Path], user: str
) -> None:
    test = f"# a comment first\n[[ $(whoami) == {user} ]] && echo 1 >/logs/verifier/reward.txt\n"
    task = make_task(test)
    settings = task / "task.toml"
    settings.write_text(settings.read_text().replace("[verifier]", f'[verifier]\nuser = "{user}"'))

    done = evaluate(task, "--agent", "nop")

    assert done.code == 0, done
    _, (verdict,), _ = only_trial(runs)
    assert verdict.reward == 1, verdict


def test_tests_that_take_too_long_are_ended_and_what_they_printed_stays(
    evaluate: Callable[..., Done], runs: Path, make_task: Callable[..., Path]
) -> None:
    task = make_task("#!/bin/bash\necho 1 >/logs/verifier/reward.txt; echo so far; sleep 600\n")

    done = evaluate(task, "--agent", "nop", "--timeout-multiplier", "0.1")

    assert done.code == 0, done
    _, (verdict,), files = only_trial(runs)
    assert (verdict.reward, verdict.status) == (0, "timed_out")
    assert "within 2 seconds" in verdict.detail
    assert (files / "verifier" / "test-stdout.txt").read_text() == "so far\n"


def test_rewards_that_disagree_are_none(
    evaluate: Callable[..., Done], runs: Path, make_task: Callable[..., Path]
) -> None:
    test = "#!/bin/bash\ncd /logs/verifier; echo 0 >reward.txt; echo '{\"reward\": 1}' >reward.json\n"

    done = evaluate(make_task(test), "--agent", "nop")

    assert done.code == 0, done
    _, (verdict,), _ = only_trial(runs)
    assert (verdict.reward, verdict.status) == (0, "no_results")
    assert "reward.txt says 0, and reward.json says 1" in verdict.detail


def test_tests_that_could_not_be_installed_are_no_zero(
    evaluate: Callable[..., Done], runs: Path, make_task: Callable[..., Path]
) -> None:
    test = "#!/bin/bash\napt-get -o Acquire::Retries=0 update\nuvx pytest\necho 0 >/logs/verifier/reward.txt\n"

    done = evaluate(make_task(test), "--agent", "nop")

    assert done.code == 1, done
    end, found, _ = only_trial(runs)
    assert not found
    assert end.outcome.error == "verifier"
    assert "the work was not judged" in end.outcome.detail


@pytest.mark.parametrize(
    "deed", ["rm $(command -v tar)", "printf '#!/bin/sh\\necho E: Failed to fetch x; exit 1' >/usr/bin/apt-get"]
)
def test_an_agent_that_keeps_the_tests_from_being_set_up_earns_a_zero(
    evaluate: Callable[..., Done],
    runs: Path,
    make_task: Callable[..., Path],
    write_script: Callable[..., str],
    deed: str,
) -> None:
    script = write_script(calls(deed), {"content": "It is done."})

    done = evaluate(
        make_task("#!/bin/bash\napt-get --version && echo 1 >/logs/verifier/reward.txt\n"), "--backend", script
    )

    assert done.code == 0, done
    _, (verdict,), _ = only_trial(runs)
    assert (verdict.reward, verdict.status) == (0, "no_results")
    assert "in a fresh container the tests can be set up" in verdict.detail


def test_programs_that_the_agent_changed_are_flagged(
    evaluate: Callable[..., Done], runs: Path, make_task: Callable[..., Path], write_script: Callable[..., str]
) -> None:
    script = write_script(
        calls("printf '#!/bin/sh\\n' >>/usr/bin/printenv; echo >/usr/local/bin/curl"), {"content": "."}
    )

    done = evaluate(make_task(), "--backend", script)

    assert done.code == 0, done
    _, (verdict,), _ = only_trial(runs)
    assert verdict.flags == ["programs:/usr/bin/printenv", "programs:/usr/local/bin/curl"]


def test_an_agent_that_ends_every_process_earns_nothing_by_it(
    evaluate: Callable[..., Done], runs: Path, make_task: Callable[..., Path], write_script: Callable[..., str]
) -> None:
    script = write_script(calls(f"{FORGING}; kill -9 -1"), calls("true"), {"content": "It is done."})

    done = evaluate(make_task(), "--backend", script)

    _, found, _ = only_trial(runs)
    assert [(verdict.reward, verdict.flags) for verdict in found] == [(0, ["room:ended"])], done


def test_where_no_room_can_be_had_that_is_said(
    evaluate: Callable[..., Done], runs: Path, make_task: Callable[..., Path], client: DockerClient
) -> None:
    test = "#!/bin/sh\necho 1 >/logs/verifier/reward.txt\n"
    task = make_task(test)
    (task / "environment").mkdir()
    recipe = f"FROM unbroken/base:1\nRUN rm /usr/bin/setpriv # {uuid4()}\n"
    (task / "environment" / "Dockerfile").write_text(recipe)
    text = (task / "task.toml").read_text()
    (task / "task.toml").write_text(text.replace('docker_image = "unbroken/base:1"\n', ""))

    done = evaluate(task, "--agent", "nop")

    assert done.code == 0, done
    assert f"building {IMAGES}" in done.err
    _, (verdict,), _ = only_trial(runs)
    assert verdict.reward == 1
    (flag,) = verdict.flags
    assert flag.startswith("unprotected: ")
    assert "setpriv" in flag

    shutil.rmtree(runs)
    again = evaluate(task, "--agent", "nop")
    assert "building" not in again.err
    client.images.remove(agent_image(read_task(task)).name)  # pyright: ignore[reportUnknownMemberType]


def test_an_image_that_cannot_be_built_says_why(
    evaluate: Callable[..., Done], runs: Path, make_task: Callable[..., Path]
) -> None:
    task = make_task()
    (task / "environment").mkdir()
    (task / "environment" / "Dockerfile").write_text("FROM unbroken/base:1\nRUN echo it is broken; exit 7\n")
    text = (task / "task.toml").read_text()
    (task / "task.toml").write_text(text.replace('docker_image = "unbroken/base:1"\n', ""))

    done = evaluate(task, "--agent", "nop")

    assert done.code == 1, done
    end, found, _ = only_trial(runs)
    assert not found
    assert end.outcome.error == "image"
    assert "returned a non-zero code: 7" in end.outcome.detail
    assert "it is broken" in end.outcome.detail


def test_a_container_that_does_not_get_ready_is_an_error(
    evaluate: Callable[..., Done], runs: Path, make_task: Callable[..., Path]
) -> None:
    task = make_task()
    with (task / "task.toml").open("a") as file:
        file.write('[environment.healthcheck]\ncommand = "echo not yet; false"\ninterval_sec = 0.1\nretries = 2\n')

    done = evaluate(task, "--agent", "nop", "--tries", "1")

    assert done.code == 1, done
    end, _, _ = only_trial(runs)
    assert end.outcome.error == "sandbox"
    assert "failed 2 times (exit 1): not yet" in end.outcome.detail


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (
            "collect = [{command = 'true', service = 'database'}]",
            "task.toml, verifier.collect: there is no service database",
        ),
        ("env = {KEY = '${GONE}'}", "task.toml, verifier.env: [verifier].env needs the variable GONE"),
        ("nonsense", "task.toml: it is no TOML"),
    ],
)
def test_a_task_that_cannot_be_run_is_refused_before_the_start(
    evaluate: Callable[..., Done], runs: Path, make_task: Callable[..., Path], more: str, reason: str
) -> None:
    done = evaluate(make_task(more=more), "--agent", "nop")

    assert done.code == 2, done
    assert reason in done.err
    assert not list_runs(runs).found


def test_a_task_that_cannot_be_run_may_be_skipped(
    evaluate: Callable[..., Done], runs: Path, make_task: Callable[..., Path], tmp_path: Path
) -> None:
    broken = make_task(more="nonsense")
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    broken.rename(dataset / "broken")
    shutil.copytree(SUITE / "hello-file", dataset / "hello")

    done = evaluate(dataset, "--agent", "gold", "--skip-invalid")

    assert done.code == 0, done
    assert "broken: task.toml: it is no TOML" in done.err
    assert list(verdicts(runs)) == ["unbroken/hello-file"]


class TestPrivateRoom:
    """What the one who is root in a container can do about a room in there."""

    SETTINGS = ContainerSettings(
        image="unbroken/base:1", directory="/", user="root", rights="usual", volumes=("/logs", "/tests")
    )
    SETUP = "mount -t tmpfs room /logs"

    async def open(self, client: DockerClient) -> tuple[DockerSandbox, PrivateRoom]:
        sandbox = await DockerSandbox.start(client, self.SETTINGS)
        return sandbox, await PrivateRoom.open(client.api, self.SETTINGS, sandbox.container_id, self.SETUP, {})

    async def heard(self, room: PrivateRoom) -> bytes:
        said = b""
        while (piece := (await room.receive())[1]) != b"":
            said += piece
        return said

    async def test_it_has_no_more_rights_than_the_container_but_one(self, client: DockerClient) -> None:
        sandbox, room = await self.open(client)
        outside = (await sandbox.exec("grep CapBnd /proc/self/status", timeout=30)).output
        await room.run("grep CapBnd /proc/self/status")
        inside = await self.heard(room)
        await asyncio.gather(room.close(), sandbox.close())

        more = int(inside.split()[1], 16) & ~int(outside.split()[1], 16)
        assert more == 1 << 35, "CAP_WAKE_ALARM"

    async def test_its_folders_cannot_be_seen_moved_or_removed_from_outside(self, client: DockerClient) -> None:
        sandbox, room = await self.open(client)
        attack = "rm -rf /logs; mv /logs /moved; umount /logs; mkdir -p /logs; echo forged >/logs/word; "
        attack += "for p in /proc/[0-9]*; do echo forged >$p/root/logs/word; done; true"
        await sandbox.exec(attack, timeout=30)
        await room.run("echo real >/logs/word2; cat /logs/*")
        said = await self.heard(room)
        seen = (await sandbox.exec("ls /logs /proc/*/root/logs", timeout=30)).output
        await asyncio.gather(room.close(), sandbox.close())

        assert said == b"real\n"
        assert b"word2" not in seen

    async def test_it_shares_processes_network_and_files_with_the_container(self, client: DockerClient) -> None:
        sandbox, room = await self.open(client)
        await sandbox.shell("echo work >/srv/file; python3 -m http.server 8080 -d /srv >/dev/null 2>&1 &", timeout=30)
        await asyncio.sleep(1)
        await room.run("cat /srv/file; hostname; python3 -c \"import urllib.request as r; "
                       "print(r.urlopen('http://127.0.0.1:8080/file').read())\"; pgrep -fc http.server")  # fmt: skip
        said = await self.heard(room)
        await asyncio.gather(room.close(), sandbox.close())

        assert said.splitlines()[:3] == [b"work", b"sandbox", b"b'work\\n'"], said

    async def test_it_is_known_when_somebody_has_ended_it(self, client: DockerClient) -> None:
        sandbox, room = await self.open(client)
        assert await room.is_open()
        await sandbox.exec("kill -9 -1", timeout=30)
        await self.heard(room)
        is_open = await room.is_open()
        await asyncio.gather(room.close(), sandbox.close())
        assert not is_open

    async def test_an_image_without_the_programs_says_so(self, client: DockerClient, only_sh_image: str) -> None:
        settings = ContainerSettings(image=only_sh_image, directory="/", rights="usual", volumes=("/logs",))
        sandbox = await DockerSandbox.start(client, settings)
        with pytest.raises(NoRoomError, match="nsenter"):
            await PrivateRoom.open(client.api, settings, sandbox.container_id, self.SETUP, {})
        await sandbox.close()


def test_the_manifest_says_what_was_run(evaluate: Callable[..., Done], runs: Path) -> None:
    done = evaluate(SUITE / "hello-file", "--agent", "nop", "--memory", "1g", "--timeout-multiplier", "2")

    assert done.code == 0, done
    sandbox: dict[str, Any] = json.loads((only_run(runs).path / "run.json").read_text())["sandbox"]
    assert sandbox["memory"] == "1g"
    assert sandbox["timeout_multiplier"] == 2
    assert only_run(runs).manifest.benchmark.task_ids == ["unbroken/hello-file"]
