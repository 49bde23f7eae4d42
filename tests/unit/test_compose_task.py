"""What of a task's Compose file is refused, and what becomes of the rest."""

import json
from pathlib import Path
from typing import Any

import pytest

from evals.terminal_bench.compose_file import Surroundings, own_entrypoint, trial_file
from evals.terminal_bench.compose_task import LOGS_OF_HOST, NO_IMAGE, refusals
from evals.terminal_bench.environment import IDLE
from evals.terminal_bench.runnable import obstacles
from evals.terminal_bench.task_directory import read_task
from runners.container import FIRST_PROCESS, ContainerSettings
from runners.docker_engine import OWNER_LABEL, RUN_LABEL, TRIAL_LABEL
from runners.owner import this_process


@pytest.fixture
def task(tmp_path: Path) -> Path:
    (tmp_path / "environment" / "data").mkdir(parents=True)
    return tmp_path


def write(task: Path, settings: str, *, compose: bool = False) -> None:
    recipe = {"docker-compose.yaml": "services: {main: {image: x}}\n"} if compose else {"Dockerfile": "FROM scratch\n"}
    files = {"task.toml": settings, "instruction.md": "Do it.\n", "tests/test.sh": "true\n"}
    for name, text in {**files, **{f"environment/{name}": text for name, text in recipe.items()}}.items():
        (task / name).parent.mkdir(exist_ok=True)
        (task / name).write_text(text)


def bind(source: Path | str, target: str = "/data") -> dict[str, Any]:
    return {"volumes": [{"type": "bind", "source": str(source), "target": target}]}


@pytest.mark.parametrize(
    ("service", "key"),
    [
        ({"privileged": True}, "privileged"),
        ({"network_mode": "host"}, "network_mode"),
        ({"network_mode": "container:other"}, "network_mode"),
        ({"pid": "host"}, "pid"),
        ({"ipc": "host"}, "ipc"),
        ({"devices": [{"source": "/dev/sda"}]}, "devices"),
        ({"volumes_from": ["main"]}, "volumes_from"),
        ({"cap_add": ["CAP_SYS_PTRACE"]}, "cap_add"),
        ({"cap_add": ["WAKE_ALARM"]}, "cap_add"),
        ({"deploy": {"replicas": 2}}, "deploy.replicas"),
        ({"security_opt": ["apparmor=unconfined"]}, "security_opt"),
        (bind("/var/run/docker.sock"), "volumes"),
        (bind("/etc"), "volumes"),
        ({"build": {"context": "/etc", "dockerfile": "Dockerfile"}}, "build.context"),
        ({"build": {"context": "TASK/environment", "network": "host"}}, "build.network"),
        ({"build": {"context": "TASK/environment", "dockerfile": "../../Dockerfile"}}, "build.dockerfile"),
    ],
)
def test_what_reaches_this_machine_is_refused_by_its_key(task: Path, service: dict[str, Any], key: str) -> None:
    stated = json.loads(json.dumps(service).replace("TASK", str(task)))

    found = list(refusals({"services": {"main": {}, "db": stated}}, task))

    assert [(problem.file, problem.key) for problem in found] == [
        ("environment/docker-compose.yaml", f"services.db.{key}")
    ]


def test_mounts_over_what_tests_need_are_refused_and_those_of_the_task_are_not(task: Path) -> None:
    def keys(main: dict[str, Any]) -> list[str]:
        return [problem.key for problem in refusals({"services": {"main": main}}, task)]

    assert keys(bind(task / "environment" / "data", "/logs/verifier")) == ["services.main.volumes"]
    assert keys(bind(task / "tests")) == ["services.main.volumes"]
    assert keys(bind(task / "environment" / "data")) == []
    assert keys(bind(f"{LOGS_OF_HOST}/verifier", "/logs/verifier")) == []


@pytest.mark.parametrize(
    ("kind", "table", "key"),
    [
        ("networks", {"external": True}, "networks.one.external"),
        ("networks", {"driver": "macvlan"}, "networks.one.driver"),
        ("volumes", {"driver_opts": {"type": "none", "device": "/etc", "o": "bind"}}, "volumes.one.driver_opts"),
        ("secrets", {"file": "/etc/shadow"}, "secrets.one.file"),
        ("networks", {"ipam": {"config": [{"subnet": "10.9.0.0/24"}]}}, "networks.one.ipam"),
    ],
)
def test_networks_volumes_and_secrets_are_the_tasks_own(task: Path, kind: str, table: dict[str, Any], key: str) -> None:
    assert [problem.key for problem in refusals({"services": {"main": {}}, kind: {"one": table}}, task)] == [key]


def test_main_is_set_up_as_every_container_and_all_is_marked_as_ours(task: Path) -> None:
    environment, copied = task / "environment", task / "copied"
    model: dict[str, Any] = {
        "services": {
            "main": {
                "image": NO_IMAGE,
                "command": ["sh", "-c", "sleep infinity"],
                "deploy": {"resources": {}},
                "tty": True,
                **bind(f"{LOGS_OF_HOST}/verifier", "/logs/verifier"),
            },
            "db": {
                "image": "db:1",
                "container_name": "the-db",
                "ports": [{"target": 80, "published": "80"}],
                "networks": {"default": None},
                "command": ["echo", "$HOME"],
                **bind(environment / "data"),
            },
        },
        "networks": {"default": {"name": "task_default"}},
        "volumes": {"kept": {"name": "task_kept"}},
    }
    settings = ContainerSettings(
        image="main:1", directory="/app", run="the-run", trial="the-trial", cpus=2, memory="1g", volumes=("/logs",)
    )
    images = {"main": "main:1", "db": "db:1"}

    made = json.loads(trial_file(model, Surroundings(settings, images, {"default": "sandbox-1a"}, environment, copied)))

    main, database = made["services"]["main"], made["services"]["db"]
    labels = {RUN_LABEL: "the-run", TRIAL_LABEL: "the-trial", OWNER_LABEL: str(this_process())}
    assert main["labels"] == database["labels"] == labels
    assert main["entrypoint"] == [word.replace("$", "$$") for word in FIRST_PROCESS]
    assert main["volumes"] == [{"type": "volume", "target": "/logs"}]
    assert (main["image"], main["cpus"], main["mem_limit"], main["working_dir"]) == ("main:1", 2, "1g", "/app")
    assert not {"tty", "deploy", "command"} & set(main)
    assert database["networks"] == {"default": {"aliases": ["the-db"]}}
    assert database["volumes"][0]["source"] == str(copied / "data")
    assert database["command"] == ["echo", "$$HOME"]
    assert not {"ports", "container_name"} & set(database)
    del labels[TRIAL_LABEL]
    bridge = {"com.docker.network.bridge.name": "sandbox-1a"}
    assert made["networks"] == {"default": {"labels": labels, "internal": True, "driver_opts": bridge}}
    assert "dns" in database
    assert made["volumes"] == {"kept": {"labels": labels}}


@pytest.mark.parametrize(
    ("service", "of_image", "runs"),
    [
        ({}, (), ()),
        ({"command": ["sleep", "infinity"]}, (), ()),
        ({"command": ["sh", "-c", "sleep infinity"]}, (), ()),
        ({"command": ["tail", "-f", "/dev/null"]}, (), ()),
        ({"command": ["/bin/bash"]}, (), ()),
        ({"command": ["serve"]}, (), ("serve",)),
        ({"entrypoint": ["serve"], "command": ["a b"]}, ("other",), ("serve", "a b")),
        ({"command": ["sleep", "infinity"]}, ("start",), ("start", "sleep", "infinity")),
        ({}, ("start",), ("start", *IDLE)),
    ],
)
def test_what_main_runs_besides_waiting_is_run_beside_its_shell(
    service: dict[str, Any], of_image: tuple[str, ...], runs: tuple[str, ...]
) -> None:
    assert own_entrypoint(service, of_image) == runs


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[environment]\nnetwork_mode = 'allowlist'\nallowed_hosts = ['a.example']\n", "environment.network_mode"),
        ("[agent]\nnetwork_mode = 'no-network'\n", "agent.network_mode"),
        ("[environment]\ngpus = 1\n", "environment.gpus"),
        ("[verifier]\nenvironment_mode = 'separate'\n", "verifier"),
    ],
)
def test_what_several_containers_cannot_have_yet_is_refused_by_its_key(
    task: Path, monkeypatch: pytest.MonkeyPatch, text: str, key: str
) -> None:
    write(task, text, compose=True)
    monkeypatch.setenv("PATH", str(task))

    assert [(each.file, each.key) for each in obstacles(read_task(task), {}, "default")] == [
        ("task.toml", key),
        ("environment/docker-compose.yaml", ""),
    ]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("include: [/etc/other.yaml]\nservices: {main: {image: x}}\n", "include"),
        ("services: {main: {image: x, env_file: /root/.env}}\n", "services.main.env_file"),
        ("services: {main: {extends: {file: /etc/other.yaml, service: x}}}\n", "services.main.extends"),
        ("services: [\n", ""),
    ],
)
def test_no_other_file_of_this_machine_is_read(task: Path, text: str, key: str) -> None:
    write(task, "", compose=True)
    (task / "environment" / "docker-compose.yaml").write_text(text)

    assert [each.key for each in obstacles(read_task(task), {}, "default")] == [key]


def test_without_the_plugin_a_task_of_several_containers_is_refused(
    task: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(task, "", compose=True)
    monkeypatch.setenv("PATH", str(task))

    (problem,) = obstacles(read_task(task), {}, "default")

    assert problem.file == "environment/docker-compose.yaml"
    assert "the Compose v2 plugin" in problem.reason


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("artifacts = [{source = '/x', service = 'db'}]\n", "artifacts"),
        ("[[verifier.collect]]\ncommand = 'x'\nservice = 'db'\n", "verifier.collect"),
    ],
)
def test_a_service_that_is_not_there_is_named(task: Path, text: str, key: str) -> None:
    write(task, text)

    (problem,) = obstacles(read_task(task), {}, "default")

    assert (problem.key, problem.reason) == (key, "there is no service db")
