"""To whom the containers, images of them, networks and volumes of an engine belong."""

from typing import Any

from docker import DockerClient

from runners.docker_engine import OWNER_LABEL, SNAPSHOT_LABEL
from runners.owner import Owner


def owners(client: DockerClient) -> list[Owner]:
    """Of all that is labelled and whose label can be read."""
    api: Any = client.api
    wanted = {"label": OWNER_LABEL}
    found = [*api.containers(all=True, filters=wanted), *api.networks(filters=wanted)]
    labels = [row["Labels"][OWNER_LABEL] for row in found + (api.volumes(filters=wanted)["Volumes"] or [])]
    labels += [row["Labels"][SNAPSHOT_LABEL] for row in api.images(all=True, filters={"label": SNAPSHOT_LABEL})]
    return [owner for label in labels if (owner := Owner.parse(label))]
