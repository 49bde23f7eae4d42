"""One pull by the engine, and what its failures mean: whether to try again, and what to tell."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evals.images.patience import ImageError

if TYPE_CHECKING:
    from docker import DockerClient

_FINAL = re.compile(
    r"manifest unknown|not found|does not exist|access denied|unauthorized|authentication required|forbidden"
    r"|no matching manifest|invalid reference|no space left|x509|http response to https|unsupported",
    re.IGNORECASE,
)
"""What will not go away by itself. The engine hands on the registry's words, with a status that says little."""
_RATE_LIMITED = re.compile(r"toomanyrequests|too many requests|\b429\b|rate limit", re.IGNORECASE)
_DIGEST, _UP_TO_DATE = "Digest: ", "Status: Image is up to date"
"""How an engine begins to say what it pulled, and that the name stood for that already."""


@dataclass(frozen=True)
class Answer:
    """What the engine says of a pull that went well."""

    digest: str | None = None
    """Of the registry's manifest; None from an engine that does not tell."""
    was_here: bool = False
    """The name stood for that image already: somebody else was faster."""


class PullError(ImageError):
    """The engine could not pull an image."""

    @property
    def is_rate_limited(self) -> bool:
        """Whether the registry was asked too often."""
        return bool(_RATE_LIMITED.search(str(self)))

    @property
    def is_disk_full(self) -> bool:
        """Whether there is no room for it."""
        return "no space left" in str(self).lower()


def pull(client: "DockerClient", name: str) -> Answer:
    """Pull an image. Raises PullError. Ended in the middle, it may be called again."""
    import requests
    import urllib3
    from docker.errors import DockerException

    api: Any = client.api
    said: list[str] = []
    try:
        events: Iterable[Mapping[str, Any]] = api.pull(name, stream=True, decode=True)
        for event in events:
            if "error" in event:
                raise pull_error(str(event["error"]))
            said.append(str(event.get("status") or ""))
    except DockerException as error:
        raise pull_error(str(getattr(error, "explanation", None) or error)) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        message = f"the Docker engine does not answer: {error}"
        raise PullError(message, transient=True) from error
    return answer_of(said)


def answer_of(said: Iterable[str]) -> Answer:
    """The answer, from the lines of progress."""
    digest, was_here = None, False
    for line in said:
        digest = line.removeprefix(_DIGEST).strip() if line.startswith(_DIGEST) else digest
        was_here = was_here or line.startswith(_UP_TO_DATE)
    return Answer(digest, was_here)


def pull_error(reason: str) -> PullError:
    """What the engine said, and whether to try again: yes, unless it is known to be in vain."""
    reason = reason.strip()
    return PullError(reason, transient=bool(_RATE_LIMITED.search(reason)) or not _FINAL.search(reason))
