"""The project that a task is about, as far as an audit has to know it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_SEPARATORS = re.compile(r"[-_.]+")
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_OTHER_NAMES = {
    "ansible": ("ansible-core", "ansible-base"),
    "scikit-learn": ("sklearn",),
    "xarray": ("xray",),
}
"""Names under which a project is released as well."""


@dataclass(frozen=True)
class Project:
    """`repository` is `owner/name`, as in the column `repo` of SWE-bench's rows; `directory` is where it lies."""

    repository: str
    directory: str = "/testbed"

    @property
    def name(self) -> str:
        """The repository's name without its owner."""
        return self.repository.rpartition("/")[2]

    def releases(self) -> frozenset[str]:
        """The names of its releases, normalised."""
        name = self.name.lower()
        return frozenset(normalised(one) for one in (name, *_OTHER_NAMES.get(name, ())) if one)

    def is_release(self, requirement: str) -> bool:
        """Whether a requirement (`Django>=4`, `django @ git+…`, `python3-django`) asks for this project."""
        found = _REQUIREMENT.match(requirement)
        if found is None:
            return False
        name = normalised(found[1])
        return not self.releases().isdisjoint((name, name.removeprefix("python3-").removeprefix("python-")))

    def is_at(self, url: str) -> bool:
        """Whether a URL leads to this project: its repository, a fork, a release of it, a page about it."""
        return any(self._is_named(part) for part in _path_parts(url))

    def inside(self, path: str) -> str:
        """A path as seen from the project's folder; what lies elsewhere stays absolute."""
        short = path.removeprefix(self.directory.rstrip("/") + "/") if self.directory.strip("/") else path
        while short.startswith("./"):
            short = short[2:]
        return short

    def _is_named(self, part: str) -> bool:
        part = part.lower().removesuffix(".git")
        name, _, version = part.rpartition("-")
        return normalised(part) in self.releases() or (version[:1].isdigit() and normalised(name) in self.releases())


def normalised(name: str) -> str:
    """A package's name in the one spelling that stands for all."""
    return _SEPARATORS.sub("-", name.lower())


def _path_parts(url: str) -> Iterable[str]:
    path = url.partition("://")[2] or url.partition(":")[2] or url
    return re.split(r"[/?#=&@]", path)[1 if "://" in url else 0 :]
