"""GPUs for containers: what the engine is asked for, and what a person is told where it has none."""

from pathlib import Path

import pytest
from docker import DockerClient
from real_things import VENV, Console

from results.run_directory import list_runs
from runners.container import ContainerSettings
from runners.docker_sandbox import DockerSandbox
from runners.gpus import why_no_gpus
from tools.sandbox import SandboxError


@pytest.fixture(autouse=True)
def without_gpus(client: DockerClient) -> str:
    reason = why_no_gpus(client)
    if not reason:
        pytest.skip("this engine can give GPUs to containers")
    return reason


async def test_the_engine_itself_is_asked_for_them(client: DockerClient) -> None:
    settings = ContainerSettings(image="unbroken/base:1", directory="/", gpus=1)
    with pytest.raises(SandboxError, match=r'could not select device driver "nvidia" with capabilities: \[\[gpu\]\]'):
        await DockerSandbox.start(client, settings)


def test_no_run_is_begun_without_them_and_what_is_missing_is_named(
    console: Console, tmp_path: Path, without_gpus: str
) -> None:
    task, runs = tmp_path / "task", tmp_path / "runs"
    (task / "tests").mkdir(parents=True)
    (task / "tests" / "test.sh").write_text("")
    (task / "instruction.md").write_text("Do it.\n")
    (task / "task.toml").write_text('[environment]\ndocker_image = "unbroken/base:1"\ngpus = 1\n')

    command = [str(VENV / "bin" / "evals"), "terminal-bench", "--dataset", str(task), "--runs", str(runs)]
    done = console.run([*command, "--agent", "nop"])

    assert done.code == 2, done
    assert f"task: task.toml, environment.gpus: containers can have no GPUs: {without_gpus}" in done.err
    assert "the Docker engine has no runtime nvidia (it has: " in done.err
    assert "nvidia-ctk runtime configure" in done.err
    assert not list_runs(runs).found
