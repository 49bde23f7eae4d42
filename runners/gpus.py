"""GPUs of this machine in containers, through the engine's device requests: NVIDIA's, which need its Container Toolkit.

Which of the GPUs a container gets, and of what kind they are, the engine decides.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docker import DockerClient

_RUNTIME = "nvidia"


def device_requests(gpus: int) -> list[dict[str, Any]]:
    """What a container's creation asks the engine for, as the Engine API has it."""
    return [{"Driver": _RUNTIME, "Count": gpus, "Capabilities": [["gpu"]]}] if gpus else []


def why_no_gpus(client: "DockerClient") -> str:
    """What this engine lacks to give GPUs to containers; empty where it lacks nothing. Blocking."""
    engine: dict[str, Any] = client.info()  # pyright: ignore[reportUnknownMemberType]
    runtimes = sorted(engine.get("Runtimes") or {})
    if _RUNTIME in runtimes:
        return ""
    return (
        f"the Docker engine has no runtime {_RUNTIME} (it has: {', '.join(runtimes) or 'none'}). "
        "Install the NVIDIA Container Toolkit, and run `nvidia-ctk runtime configure --runtime=docker`"
    )
