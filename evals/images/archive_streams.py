"""Archives on their way out of an engine and into it: the streams of `docker save` and `docker load`.

There is no time limit on them: an engine says nothing while it unpacks a layer, and tens of gigabytes take as long as
the disk does. The client's own limit, of some minutes between two bytes, is for everything else.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from evals.images.patience import ImageError

if TYPE_CHECKING:
    from docker import DockerClient

_PIECE = 2**20
_SHOWN = 5


def saved(client: "DockerClient", names: Sequence[str]) -> Generator[bytes]:
    """The archive of these images, piece by piece. Raises ImageError."""
    import requests

    api: Any = client.api  # a requests.Session; its own methods save one image at a time
    query = {"names": list(names)}
    with api.get(f"{_address(api)}/get", params=query, stream=True, timeout=None) as answer:
        if answer.status_code != requests.codes.ok:
            message = f"the Docker engine does not save {', '.join(names[:_SHOWN])}: {answer.text.strip()}"
            raise ImageError(message)
        yield from answer.iter_content(_PIECE)


def load(client: "DockerClient", path: Path) -> None:
    """Load the images of an archive. Raises ImageError, OSError as files do."""
    import requests
    from docker.utils.json_stream import json_stream

    api: Any = client.api  # its own method keeps to the client's limit
    with (
        path.open("rb") as file,
        api.post(f"{_address(api)}/load", data=file, params={"quiet": 1}, stream=True, timeout=None) as answer,
    ):
        if answer.status_code != requests.codes.ok:
            message = f"the Docker engine does not load it: {answer.text.strip()}"
            raise ImageError(message)
        events = cast("Iterable[Mapping[str, Any]]", json_stream(answer.iter_content(None)))
        for event in events:
            if "error" in event:
                raise ImageError(str(event["error"]).strip())


def _address(api: Any) -> str:
    return f"{api.base_url}/v{api.api_version}/images"
