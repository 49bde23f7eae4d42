"""The file with which a trial's containers are brought up: what the task has, and what is ours.

`main` is set up as a container of a task with one container is; every container, network and volume has the labels by
which leftovers are found. Ports of this machine, fixed names and restarts are left out: trials run beside each other.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.terminal_bench.compose_task import LOGS_OF_HOST, MAIN, Model
from evals.terminal_bench.environment import IDLE
from runners.container import FIRST_PROCESS, ContainerSettings
from runners.docker_engine import OWNER_LABEL, RUN_LABEL, TRIAL_LABEL
from runners.networks import NO_RESOLVER
from runners.owner import this_process

_LEFT_OUT = ("build", "ports", "container_name", "pull_policy", "profiles", "scale", "attach")
_NOT_OF_MAIN = ("deploy", "restart", "tty", "stop_grace_period", "command", "cpus", "mem_limit", "memswap_limit")
_SLEEPS = ("sleep infinity", "tail -f /dev/null", "sleep inf")
_LOGGING = {"driver": "local", "options": {"max-size": "10m", "max-file": "2"}}


@dataclass(frozen=True)
class Surroundings:
    """What a trial's file is made with."""

    settings: ContainerSettings
    """Of main."""
    images: Mapping[str, str]
    """By service."""
    bridges: Mapping[str, str] | None
    """The interfaces of the task's networks, by their names, where there is no way out of these; else None."""
    environment: Path
    """The task's folder `environment/`."""
    copied: Path
    """What is mounted of it: a copy, which is gone with the trial."""


def trial_file(model: Model, given: Surroundings) -> bytes:
    """The file, as JSON, which is YAML."""
    settings = given.settings
    labels = {RUN_LABEL: settings.run, OWNER_LABEL: str(this_process())}
    services = {name: _service(name, service, given) for name, service in model["services"].items()}
    services[MAIN] = _main(services[MAIN], settings)
    made: Model = {"services": services}
    for kind in ("networks", "volumes"):
        made[kind] = {name: {**table, "labels": labels} for name, table in _tables(model, kind).items()}
    for name, bridge in (given.bridges or {}).items():
        made["networks"][name] |= {"internal": True, "driver_opts": {"com.docker.network.bridge.name": bridge}}
    for kind in ("secrets", "configs"):
        made[kind] = {name: _moved(table, "file", given) for name, table in _tables(model, kind).items()}
    return json.dumps(_escaped(made), indent=2).encode()


def own_entrypoint(service: Model, of_image: Sequence[str]) -> tuple[str, ...]:
    """What main runs beside its shell, with what its image has as ENTRYPOINT; nothing where it only waits."""
    command = tuple(service.get("command") or ())
    entrypoint = tuple(service.get("entrypoint") or of_image)
    is_shell = len(command) == 1 and command[0].rpartition("/")[2] in {"bash", "sh"}
    waits = is_shell or any(" ".join(command).endswith(sleep) for sleep in _SLEEPS)
    if entrypoint:
        return (*entrypoint, *(command or IDLE))
    return () if waits else command


def _service(name: str, service: Model, given: Surroundings) -> Model:
    settings = given.settings
    made = _without(copy.deepcopy(service), *_LEFT_OUT)
    made["image"] = given.images[name]
    made["labels"] = {RUN_LABEL: settings.run, TRIAL_LABEL: settings.trial, OWNER_LABEL: str(this_process())}
    made["logging"] = _LOGGING
    if settings.processes is not None:
        made.setdefault("pids_limit", settings.processes)
    if given.bridges is not None and not service.get("network_mode"):
        made["dns"] = list(NO_RESOLVER)
    if alias := service.get("container_name"):
        networks: Mapping[str, Model | None] = made.get("networks") or {}
        made["networks"] = {network: _with_alias(options or {}, alias) for network, options in networks.items()}
    made["volumes"] = [
        _moved(mount, "source", given)
        for mount in made.get("volumes") or ()
        if not str(mount.get("source", "")).startswith(LOGS_OF_HOST)
    ]
    return made


def _with_alias(options: Model, alias: str) -> Model:
    return {**options, "aliases": [*(options.get("aliases") or ()), alias]}


def _main(service: Model, settings: ContainerSettings) -> Model:
    made = _without(service, *_NOT_OF_MAIN)
    made |= {
        "entrypoint": FIRST_PROCESS,
        "stdin_open": True,
        "init": False,
        "working_dir": settings.directory,
        "environment": dict(settings.environment),
        "stop_signal": "SIGKILL",
        "logging": {"driver": "none"},
    }
    if settings.user:
        made["user"] = settings.user
    if settings.processes is not None:
        made["pids_limit"] = settings.processes
    if settings.cpus is not None:
        made["cpus"] = settings.cpus
    if settings.memory is not None:
        made |= {"mem_limit": settings.memory, "memswap_limit": settings.memory}
    made["volumes"] += [{"type": "volume", "target": folder} for folder in settings.volumes]
    return made


def _moved(table: Model, key: str, given: Surroundings) -> Model:
    """With a path of the environment's as one of the copy's."""
    source = Path(str(table.get(key, "")))
    if not source.is_absolute():
        return table
    return {**table, key: str(given.copied / source.resolve().relative_to(given.environment.resolve()))}


def _tables(model: Model, kind: str) -> dict[str, Model]:
    """What a file declares of a kind, without the names that the plugin gave it for another project."""
    tables: Mapping[str, Model | None] = model.get(kind) or {}
    return {name: _without(table or {}, "name") for name, table in tables.items()}


def _without(table: Model, *keys: str) -> Model:
    return {key: value for key, value in table.items() if key not in keys and value is not None}


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _escaped(each) for key, each in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [_escaped(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
    return value.replace("$", "$$") if isinstance(value, str) else value
