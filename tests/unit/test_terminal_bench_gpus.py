"""Tasks that ask for GPUs, where the engine can give some and where it cannot."""

from pathlib import Path

from evals.terminal_bench.environment import TaskLimits
from evals.terminal_bench.runnable import gpu_keys, obstacles
from evals.terminal_bench.task_directory import TaskDirectory, read_task
from runners.gpus import device_requests

ASKING = """
[environment]
docker_image = "image"
gpus = 2
gpu_types = ["H100"]
[verifier.environment]
docker_image = "image"
gpus = 1
"""


def asking(folder: Path) -> TaskDirectory:
    (folder / "tests").mkdir()
    (folder / "tests" / "test.sh").write_text("")
    (folder / "instruction.md").write_text("Do it.\n")
    (folder / "task.toml").write_text(ASKING)
    return read_task(folder)


def test_gpus_are_asked_of_the_engine_by_their_number() -> None:
    assert device_requests(2) == [{"Driver": "nvidia", "Count": 2, "Capabilities": [["gpu"]]}]
    assert device_requests(0) == []


def test_a_task_that_asks_for_gpus_is_refused_where_containers_can_have_none(tmp_path: Path) -> None:
    task = asking(tmp_path)
    assert gpu_keys(task) == ["environment.gpus", "verifier.environment.gpus"]
    assert obstacles(task, {}, "default") == []
    first, second = obstacles(task, {}, "default", "there is no runtime")
    assert str(first) == "task.toml, environment.gpus: containers can have no GPUs: there is no runtime"
    assert second.key == "verifier.environment.gpus"


def test_each_container_gets_as_many_as_its_table_says(tmp_path: Path) -> None:
    assert [options.gpus for options in TaskLimits().all_options(asking(tmp_path).file)] == [2, 2, 1]


def test_the_kind_of_a_gpu_is_a_warning(tmp_path: Path) -> None:
    (warning,) = asking(tmp_path).warnings
    assert str(warning) == (
        "task.toml, environment.gpu_types: Docker gives whichever GPUs there are: their types are not enforced"
    )
