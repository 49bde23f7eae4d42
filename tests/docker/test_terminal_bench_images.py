"""What a task's image says of its containers holds in a trial as it does in the format's own harness."""

from pathlib import Path
from uuid import uuid4

import pytest
from docker import DockerClient
from real_things import Console
from terminal_bench_desk import BASE, Judge, judge_with, only_end, printed

from evals.terminal_bench.image import agent_image
from evals.terminal_bench.task_directory import read_task

USER_AND_SERVICE = f"""{BASE}# {uuid4()}
RUN useradd --create-home --uid 1234 worker
USER worker
ENV GREETING=hello
ENTRYPOINT ["/bin/sh", "-c", "echo \\"$GREETING $(id -un) $*\\" >/tmp/began; sleep 298 & exec \\"$@\\"", "sh"]
"""
WHO = """id; echo "HOME=$HOME"; cat /tmp/began; pgrep -x sleep -a; cd /logs/verifier && echo 1 >reward.txt"""
AS_WORKER = ["uid=1234(worker) gid=1234(worker) groups=1234(worker)", "HOME=/home/worker"]


@pytest.fixture
def judge(console: Console, tmp_path: Path) -> Judge:
    return judge_with(console, tmp_path, "--verdicts", "both")


def test_its_user_runs_the_tests_and_its_entrypoint_its_services(
    judge: Judge, client: DockerClient, tmp_path: Path
) -> None:
    trials = judge(
        as_image={"recipe": USER_AND_SERVICE, "test": WHO, "solution": "cat /tmp/began; sleep 297 >/dev/null &"},
        as_number={"recipe": USER_AND_SERVICE, "test": WHO, "verifier": "user = 1234"},
        as_root={"recipe": USER_AND_SERVICE, "test": WHO, "verifier": 'user = "root"'},
        as_unknown={"recipe": USER_AND_SERVICE, "test": WHO, "verifier": 'user = "4321"'},
    )

    assert all(verdict.reward == 1 for trial in trials.values() for verdict in trial.verdicts())
    began = "hello worker sh -c sleep infinity"
    said = {(name, number): printed(trial, number).splitlines() for name, trial in trials.items() for number in (1, 2)}
    for number in (1, 2):
        assert said["as_image", number][:3] == said["as_number", number][:3] == [*AS_WORKER, began]
        assert said["as_root", number][:2] == ["uid=0(root) gid=0(root) groups=0(root)", "HOME=/root"]
        assert said["as_unknown", number][:2] == ["uid=4321 gid=0(root) groups=0(root)", "HOME=/"]
    services = [{line.partition(" ")[2] for line in said["as_image", number][3:]} for number in (1, 2)]
    assert services == [{"sleep 298", "sleep infinity", "sleep 297"}, {"sleep 298", "sleep infinity"}]
    solution = trials["as_image"].tries()[-1].artifacts / "solution.txt"
    assert solution.read_text().strip() == began
    assert only_end(trials["as_image"]).left_running == ["sleep 297"], "and not the image's own services"
    client.images.remove(agent_image(read_task(tmp_path / "tasks" / "as_image")).name)  # pyright: ignore[reportUnknownMemberType]
