"""Several containers that belong together, as the Compose plugin of the docker command makes them.

The plugin reads their file and brings them up; they are found again by its labels, and go without it: killed at once,
where `docker compose down` would ask each of them to stop.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runners.bridge_firewall import BridgeFirewall, remove_stale_rules
from runners.container import Container, greet, remove_container
from runners.docker_engine import in_thread, obtain
from runners.docker_sandbox import ContainerSettings, DockerSandbox, shell_worker
from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import APIClient, DockerClient

HOW_TO_GET = (
    "the Compose v2 plugin of the docker command is not installed (`docker compose version` fails): install "
    "docker-compose-plugin of Docker's own packages, docker-compose-v2 of Ubuntu or docker-compose of Debian 13, or "
    "put the plugin's program into ~/.docker/cli-plugins"
)
FILE_NAME = "docker-compose.yaml"
_PROJECT, _SERVICE = "com.docker.compose.project", "com.docker.compose.service"
_PASSED_ON = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY")
"""What the plugin is told of this process's environment: a file can ask for every variable that it sees."""
_UNSET = re.compile(r'The \\?"(\w+)\\?" variable is not set')
_ANSWERING = 60.0
_SHOWN = 1500
_ROUNDS = 3
_NO_GATEWAY = "0.0.0.0"  # noqa: S104 - no port of it stays open


class ComposeError(Exception):
    """The plugin is not here, or refuses a file; the message says which and why."""


def is_installed() -> bool:
    """Whether the docker command here has the plugin."""
    with suppress(OSError, subprocess.TimeoutExpired):
        asked = subprocess.run(
            ["docker", "compose", "version", "--short"],
            env=_environment({}),
            capture_output=True,
            timeout=_ANSWERING,
            check=False,
        )
        return asked.returncode == 0 and not asked.stdout.startswith(b"1.")
    return False


def resolved(file: Path, base: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """What `file` means, merged onto `base`: every short form written out, every variable filled in.

    Relative paths are below the file's folder. Blocking; no engine is asked. Raises ComposeError.
    """
    words = ["--project-directory", str(file.parent), "--project-name", "task", "-f", "-", "-f", str(file)]
    try:
        done = subprocess.run(
            ["docker", "compose", *words, "config", "--format", "json"],
            input=json.dumps(base).encode(),
            env=_environment(variables),
            capture_output=True,
            timeout=_ANSWERING,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ComposeError(str(error)) from error
    said = done.stderr.decode(errors="replace")
    if done.returncode != 0:
        raise ComposeError(said.strip()[-_SHOWN:])
    if unset := sorted(set(_UNSET.findall(said))):
        message = f"it asks for variables that are not set: {', '.join(unset)}"
        raise ComposeError(message)
    model: dict[str, Any] = json.loads(done.stdout)
    return model


@dataclass(frozen=True)
class ComposeProject:
    """Containers of one file, under a name that nothing else on the engine has."""

    client: "DockerClient"
    name: str
    folder: Path
    """Holds FILE_NAME, with the labels by which leftovers are found, and what that mounts; it goes with the project."""
    seconds: float
    """What bringing it up may take, images that have to be pulled included."""
    bridges: Sequence[str] = ()
    """The interfaces of its networks from which this machine is not to be reached either."""

    async def start(self, settings: ContainerSettings, service: str) -> DockerSandbox:
        """Bring everything up, and return the sandbox of one service: close it, and all of the project is gone.

        In the file, that service has `runners.container.FIRST_PROCESS` for its first process, and a stdin. Raises
        SandboxError.
        """
        api = self.client.api
        try:
            async with asyncio.timeout(self.seconds):
                await self._run("create", "--no-build")
                await self._close_bridges()
                identity = (await in_thread(project_containers, api, self.name))[service]
                worker = shell_worker(settings)
                container = await obtain(lambda: greet(api, identity, worker, settings.entrypoint), _hang_up)
                try:
                    await self._run("up", "--detach", "--wait", "--no-build", "--no-recreate")
                except BaseException:
                    _hang_up(container)
                    raise
            return await DockerSandbox.on(self.client, container, settings, self._remove)
        except TimeoutError as error:
            await self.remove()
            message = f"the services of {self.name} were not up within {self.seconds:g} seconds"
            raise SandboxError(message) from error
        except BaseException:
            await self.remove()
            raise

    async def service(self, name: str, settings: ContainerSettings) -> DockerSandbox:
        """A view of another service's container, which ends with the project. Raises SandboxError."""
        found = await in_thread(project_containers, self.client.api, self.name)
        if name not in found:
            message = f"the service {name} has no container any more"
            raise SandboxError(message)
        return DockerSandbox.beside(self.client, found[name], settings)

    async def _close_bridges(self) -> None:
        """Once they are there, and before anything runs on them. The rules go with what has outlived its interface."""
        for bridge in self.bridges:
            if reason := await BridgeFirewall(bridge, _NO_GATEWAY, is_shared=True).open():
                message = f"the services could reach this machine, which only root can close, with iptables: {reason}"
                raise SandboxError(message)

    async def remove(self) -> None:
        """Kill and remove whatever there is of it. Raises SandboxError."""
        await asyncio.shield(in_thread(self._remove))

    def _remove(self) -> None:
        remove_project(self.client.api, self.name)
        if self.bridges:
            asyncio.run(remove_stale_rules())
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _run(self, *words: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *(
                "docker",
                "compose",
                "--progress",
                "plain",
                "--project-name",
                self.name,
                "-f",
                str(self.folder / FILE_NAME),
                *words,
            ),
            env=_environment({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            said, _ = await process.communicate()
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the plugin is a child of the docker command
            await asyncio.shield(process.wait())
            raise
        if process.returncode != 0:
            message = f"docker compose {words[0]}: {said.decode(errors='replace').strip()[-_SHOWN:]}"
            raise SandboxError(message)


def project_containers(api: "APIClient", project: str) -> dict[str, str]:
    """The ids of a project's containers by their services. Blocking."""
    return {row["Labels"][_SERVICE]: row["Id"] for row in _containers(api, project)}


def remove_project(api: Any, project: str) -> None:
    """Kill and remove its containers, then its networks and volumes; what is gone is fine. Blocking."""
    for _ in range(_ROUNDS):  # a plugin that was killed may have asked for one more
        rows = _containers(api, project)
        for row in rows:
            remove_container(api, row["Id"])
        if not rows:
            break
    label = {"label": f"{_PROJECT}={project}"}
    for row in api.networks(filters=label):
        _unless_gone(api.remove_network, row["Id"])
    volumes: list[dict[str, Any]] = api.volumes(filters=label)["Volumes"] or []
    for row in volumes:
        _unless_gone(api.remove_volume, row["Name"])


def _containers(api: Any, project: str) -> Sequence[Mapping[str, Any]]:
    # An image that was made of a container of the project has the label as well, and so has what is started from it.
    rows: list[dict[str, Any]] = api.containers(all=True, filters={"label": f"{_PROJECT}={project}"})
    return [row for row in rows if any(name.lstrip("/").startswith(f"{project}-") for name in row["Names"])]


def _unless_gone(remove: Any, name: str) -> None:
    from docker.errors import NotFound

    with suppress(NotFound):
        remove(name)


def _hang_up(container: Container) -> None:
    container.streams.connection.close()


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | dict(variables)
