"""A task of several containers: what its `environment/docker-compose.yaml` means, and why some are not run.

The file is read by the Compose plugin itself, with the variables that Harbor 0.25.0 gives to such files. It sees no
other variable of this machine but those that the task's `[environment].env` asks for.
"""

import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from evals.terminal_bench.part import parts_of
from evals.terminal_bench.task_directory import Problem, TaskDirectory
from evals.terminal_bench.variables import MissingVariableError, filled
from runners.compose import HOW_TO_GET, ComposeError, is_installed, resolved

COMPOSE = "docker-compose.yaml"
MAIN = "main"
NO_IMAGE = "unbroken/task:of-main"
"""What a main without an image of its own has: it is built from `environment/Dockerfile`, or `docker_image`."""
LOGS_OF_HOST = "/unbroken-logs-of-host"
"""Stands for the folders of this machine that Harbor mounts at /logs; with us that is a volume of the container's."""
Model = dict[str, Any]
_FILE = f"environment/{COMPOSE}"
_LOGS = {"VERIFIER_LOGS": "verifier", "AGENT_LOGS": "agent", "ARTIFACTS": "artifacts"}
_OURS = ("/logs", "/tests")

_KNOWN = """annotations attach build cap_add cap_drop command configs container_name cpu_count cpu_percent cpu_period
cpu_quota cpu_shares cpus cpuset depends_on deploy dns dns_opt dns_search domainname entrypoint environment expose
extra_hosts group_add healthcheck hostname image init labels links logging mac_address mem_limit mem_reservation
mem_swappiness memswap_limit network_mode networks pids_limit platform ports privileged profiles pull_policy read_only
restart scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls tmpfs tty
ulimits user volumes working_dir"""
_SERVICE_KEYS = frozenset(_KNOWN.split())
_READING = ("extends", "env_file", "label_file")
_BUILD_KEYS = {"context", "dockerfile", "args", "target"}
_STRONG = """ALL BPF DAC_READ_SEARCH MAC_ADMIN MAC_OVERRIDE PERFMON SYS_ADMIN SYS_BOOT SYS_MODULE SYS_PTRACE SYS_RAWIO
SYS_TIME SYSLOG WAKE_ALARM"""
_RIGHTS = frozenset(_STRONG.split())
"""With which a container reaches the machine, or what tests keep from the agent (`runners.private_room`)."""


def compose_file_of(task: TaskDirectory) -> Path | None:
    """The file of a task with several containers."""
    file = task.path / "environment" / COMPOSE
    return file if file.is_file() else None


def compose_model(task: TaskDirectory) -> Model:
    """What the file means. Raises ComposeError, MissingVariableError."""
    file = compose_file_of(task)
    assert file is not None
    table = task.file.environment
    asked = filled(table.env, os.environ, "[environment].env")
    logs = {f"HOST_{name}_PATH": f"{LOGS_OF_HOST}/{folder}" for name, folder in _LOGS.items()}
    inside = {f"ENV_{name}_PATH": f"/logs/{folder}" for name, folder in _LOGS.items()}
    variables = {
        "MAIN_IMAGE_NAME": NO_IMAGE,
        "PREBUILT_IMAGE_NAME": table.docker_image or NO_IMAGE,
        "CONTEXT_DIR": str(file.parent.resolve()),
        "CPUS": f"{table.cpus or 1:g}",
        "MEMORY": f"{table.memory_mb or 2048}M",
    }
    return _read(file, file.read_text(encoding="utf-8"), tuple({**asked, **logs, **inside, **variables}.items()))


@cache
def _read(file: Path, text: str, variables: tuple[tuple[str, str], ...]) -> Model:  # noqa: ARG001 - text: a key
    model = resolved(file.resolve(), {"services": {MAIN: {"image": NO_IMAGE}}}, dict(variables))
    return _unescaped(model)


def _unescaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unescaped(each) for key, each in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [_unescaped(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
    return value.replace("$$", "$") if isinstance(value, str) else value


def compose_problems(task: TaskDirectory, agent: str) -> Iterator[Problem]:
    """Why a task of several containers cannot be run by this agent; nothing for a task of one."""
    parts = [Path("tests"), *(Path("steps", step.name, "tests") for step in task.file.steps or ())]
    for folder in parts:
        if (task.path / folder / COMPOSE).is_file():
            yield Problem(str(folder / COMPOSE), "", "a verifier of several containers (Compose) cannot be run yet")
    if compose_file_of(task) is None:
        yield from _services_asked_for(task, {MAIN: {}})
        return
    yield from _not_yet(task, agent)
    if elsewhere := list(_other_files(task)):
        yield from elsewhere
        return
    if not is_installed():
        yield Problem(_FILE, "", f"the task has several containers, and {HOW_TO_GET}")
        return
    try:
        model = compose_model(task)
    except (ComposeError, OSError, UnicodeDecodeError) as error:
        yield Problem(_FILE, "", f"docker compose refuses it: {error}")
    except MissingVariableError:
        return  # which is told for the task
    else:
        yield from _services_asked_for(task, model["services"])
        yield from refusals(model, task.path.resolve())


def _other_files(task: TaskDirectory) -> Iterator[Problem]:
    """What would be read besides: the plugin takes it in from anywhere on this machine, and does not tell."""
    import yaml

    file = task.path / "environment" / COMPOSE
    try:
        stated: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        services: Mapping[str, Model] = {name: service or {} for name, service in stated["services"].items()}
        if "include" in stated:
            yield Problem(_FILE, "include", "it is not supported")
        for name, service in services.items():
            for key in _READING:
                if key in service:
                    yield Problem(_FILE, f"services.{name}.{key}", "it is not supported: write here what it says")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        yield Problem(_FILE, "", f"it cannot be read: {error}")


def _not_yet(task: TaskDirectory, agent: str) -> Iterator[Problem]:
    file, settings = task.file, "task.toml"
    tables = {"environment": file.environment, "agent": file.agent, "verifier": file.verifier}
    for number, step in enumerate(file.steps or ()):
        tables |= {f"steps[{number}].agent": step.agent, f"steps[{number}].verifier": step.verifier}
    baseline = file.environment.baseline
    for name, table in tables.items():
        mode = table.network_mode
        if mode == "allowlist":
            yield Problem(settings, f"{name}.network_mode", "several containers cannot have an allowlist yet")
        elif mode and mode != baseline:
            yield Problem(settings, f"{name}.network_mode", "several containers have one network for all phases")
    for part in parts_of(task):
        own = part.verifier.environment and part.verifier.environment.docker_image
        if (
            part.verifier.mode == "separate"
            and not own
            and not any((each / "Dockerfile").is_file() for each in part.tests)
        ):
            yield Problem(settings, "verifier", "a separate verifier of a task with several containers needs an image")
    if file.environment.gpus:
        yield Problem(settings, "environment.gpus", "several containers cannot have GPUs yet")
    if agent == "command" and baseline != "public":
        yield Problem(settings, "environment.network_mode", "the relay of a command is not reached from there")


def _services_asked_for(task: TaskDirectory, services: Mapping[str, Any]) -> Iterator[Problem]:
    file = task.file
    tables = {"": (file.verifier, file.artifacts)}
    tables |= {f"steps[{number}].": (step.verifier, step.artifacts) for number, step in enumerate(file.steps or ())}
    for place, (verifier, artifacts) in tables.items():
        for key, asked in (("verifier.collect", verifier.collect), ("artifacts", artifacts)):
            for each in asked:
                if each.service not in (None, *services):
                    yield Problem("task.toml", f"{place}{key}", f"there is no service {each.service}")


def refusals(model: Model, task: Path) -> Iterator[Problem]:
    """What a file asks for that could reach this machine or change a score: by its key. `task`: the task's folder."""
    for name, service in model["services"].items():
        for key, reason in (*_of_service(service, task), *(_of_main(service) if name == MAIN else ())):
            yield Problem(_FILE, f"services.{name}.{key}", reason)
    for kind, keys in _TOP_KEYS.items():
        tables: Mapping[str, Model | None] = model.get(kind) or {}
        for name, given in tables.items():
            table = given or {}
            for key, value in table.items():
                if value and key not in keys and not (key == "driver" and value in {"bridge", "local"}):
                    yield Problem(_FILE, f"{kind}.{name}.{key}", "it is not supported: it may reach what is not ours")
            addresses: Model = table.get("ipam") or {}
            if addresses.get("config"):
                yield Problem(_FILE, f"{kind}.{name}.ipam", "trials side by side cannot have the same addresses")
            if (source := table.get("file")) and not _is_below(source, task / "environment"):
                yield Problem(_FILE, f"{kind}.{name}.file", f"{source} is not in environment/")


_TOP_KEYS: Mapping[str, set[str]] = {
    "networks": {"name", "ipam", "internal", "attachable", "enable_ipv6", "labels"},
    "volumes": {"name", "labels"},
    "secrets": {"name", "file", "content", "environment", "labels"},
    "configs": {"name", "file", "content", "environment", "labels"},
}


def _of_service(service: Model, task: Path) -> Iterator[tuple[str, str]]:
    for key, value in service.items():
        if value and key not in _SERVICE_KEYS:
            yield key, "it is not supported: with it a container could reach this machine, or another's files"
    if service.get("privileged"):
        yield "privileged", "a container with all rights could do anything to this machine"
    for right in service.get("cap_add") or ():
        if right.upper().removeprefix("CAP_") in _RIGHTS:
            yield "cap_add", f"with {right} a container could reach this machine, or change what tests say"
    for option in service.get("security_opt") or ():
        if not option.startswith("no-new-privileges"):
            yield "security_opt", f"{option} takes protection from this machine"
    deployed: Model = service.get("deploy") or {}
    if deployed.get("replicas", 1) != 1 or service.get("scale", 1) != 1:
        yield "deploy.replicas", "a service has one container, which hooks and artifacts are meant for"
    mode = service.get("network_mode") or "none"
    if mode != "none" and not mode.startswith("service:"):
        yield "network_mode", f"{mode} is a network that is not the task's own"
    for mount in service.get("volumes") or ():
        yield from _of_mount(mount, task)
    yield from _of_build(service.get("build") or {}, task)


def _of_mount(mount: Model, task: Path) -> Iterator[tuple[str, str]]:
    kind, source = mount["type"], str(mount.get("source", ""))
    if kind == "bind" and not source.startswith(LOGS_OF_HOST) and not _is_below(source, task / "environment"):
        yield "volumes", f"{source} is on this machine, and not in the task's environment/"
    elif kind not in {"bind", "volume", "tmpfs"}:
        yield "volumes", f"a mount of type {kind} is not supported"


def _of_build(build: Model, task: Path) -> Iterator[tuple[str, str]]:
    if not build:
        return
    for key, value in build.items():
        if value and key not in _BUILD_KEYS:
            yield f"build.{key}", "it is not supported"
    context = Path(build["context"])
    if not _is_below(str(context), task) or not context.is_dir():
        yield "build.context", f"{context} is no folder of the task's"
    elif not _is_below(str(context / build.get("dockerfile", "Dockerfile")), context.resolve()):
        yield "build.dockerfile", f"{build['dockerfile']} is not in {context}"


def _of_main(service: Model) -> Iterator[tuple[str, str]]:
    for mount in service.get("volumes") or ():
        target, source = PurePosixPath(mount["target"]), str(mount.get("source", ""))
        ours = any(target.is_relative_to(folder) or PurePosixPath(folder).is_relative_to(target) for folder in _OURS)
        if ours and not source.startswith(LOGS_OF_HOST):
            yield "volumes", f"{target} would cover a folder that the tests need"
    if service.get("network_mode"):
        yield "network_mode", "main is in the networks of the task"
    if service.get("read_only"):
        yield "read_only", "the agent and the tests write in main"


def _is_below(path: str, folder: Path) -> bool:
    return Path(path).is_absolute() and Path(path).resolve().is_relative_to(folder)
