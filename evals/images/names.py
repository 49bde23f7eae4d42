"""Names of images as Docker spells them: registry, repository, and a tag or a digest.

The grammar is that of `reference` in github.com/distribution/reference.
"""

import re
from dataclasses import dataclass

DOCKER_HUB = "docker.io"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[a-z][a-z0-9]*(?:[+._-][a-z][a-z0-9]*)*:[0-9a-f]{32,128}")
_LONGEST_REPOSITORY = 255


class ImageNameError(ValueError):
    """A text is no name of an image."""


@dataclass(frozen=True)
class ImageName:
    """Where an image is published."""

    registry: str
    """A host, with its port where there is one; `docker.io` for Docker Hub."""
    repository: str
    reference: str
    """A tag, or a digest."""

    @classmethod
    def parse(cls, text: str) -> "ImageName":
        """Read a name; without a registry it is Docker Hub's, without a tag `latest`. Raises ImageNameError."""
        rest, at, digest = text.partition("@")
        path, colon, tag = rest.rpartition(":")
        if not colon or "/" in tag:
            path, tag = rest, ""
        registry, repository = _split(path)
        well_formed = (
            _HOST.fullmatch(registry)
            and _REPOSITORY.fullmatch(repository)
            and len(repository) <= _LONGEST_REPOSITORY
            and (not at or _DIGEST.fullmatch(digest))
            and (not rest.endswith(":"))
            and (not tag or _TAG.fullmatch(tag))
        )
        if not well_formed:
            message = f"{text!r} is no name of an image"
            raise ImageNameError(message)
        return cls(registry, repository, digest or tag or "latest")

    @property
    def is_by_digest(self) -> bool:
        """Whether the reference is a digest, which means one image for ever."""
        return ":" in self.reference

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}{'@' if self.is_by_digest else ':'}{self.reference}"


def _split(path: str) -> tuple[str, str]:
    first, slash, rest = path.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    registry, repository = (first, rest) if is_host else (DOCKER_HUB, path)
    if registry == f"index.{DOCKER_HUB}":
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return registry, repository
