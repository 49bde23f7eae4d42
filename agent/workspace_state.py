"""What is kept of a repository on this side, where no agent reaches it, and what the scripts beside it have written."""

from collections.abc import Collection
from dataclasses import dataclass, field

from agent import inner_repositories, litter
from agent.inner_repositories import Inner
from agent.litter import LeftOut
from agent.workspace_scripts import IGNORED_LIMIT


@dataclass(frozen=True)
class Place:
    """Where the repository is, as the scripts want it."""

    top: str
    git_folder: str
    objects: str
    head: str
    file_mode: str
    """Whether the bit that makes a file executable means something here: `true` or `false`."""

    def variables(self) -> dict[str, str]:
        """Names and values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Start:
    """The repository before anything is written down of its files."""

    place: Place
    tracked: bytes
    """What its index has, one NUL after each name."""
    litter: bytes
    """What is litter in this repository, as a file for git."""

    @classmethod
    def parse(cls, data: bytes) -> "Start":
        """Read what `START` writes."""
        about, tracked_litter, tracked = sections(data, 3)
        *place, scratch = names_in(about)
        top = f"{place[0].rstrip('/')}/"
        own = scratch.removeprefix(top) if scratch.startswith(top) else None
        exclude = litter.exclude_file(names_in(tracked_litter), own)
        return cls(Place(*place), tracked, exclude.encode("utf-8", "surrogateescape"))


@dataclass(frozen=True)
class Found:
    """What an agent found."""

    start: Start
    tree: str
    kept: str
    """How the objects of the tree were copied: `links`, `pack`, or `nothing`."""
    packed: bool
    """Whether the few objects that the repository itself does not have were packed."""
    inner: dict[str, Inner]
    left_out: frozenset[str]
    ignored: bytes = b""
    """What git ignored, file by file; cut where it was too much."""
    own_objects: bytes = field(default=b"", repr=False)

    @classmethod
    def parse(cls, start: Start, data: bytes) -> "Found":
        """Read what `FIRST` writes."""
        about, inner, left_out = sections(data, 3)
        tree, kept, packed = names_in(about)
        return cls(
            start, tree, kept, packed == "yes", inner_repositories.parse(names_in(inner)), frozenset(names_in(left_out))
        )

    def was_ignored(self, names: Collection[str]) -> set[str]:
        """Which of these files git ignored. Where there were too many, whole folders stand for what was in them."""
        if len(self.ignored) <= IGNORED_LIMIT:
            return set(names).intersection(names_in(self.ignored))
        return {
            name
            for name in names
            if name in self.left_out or any(f"{folder}/" in self.left_out for folder in litter.folders_of(name))
        }


@dataclass(frozen=True)
class Changes:
    """What a later state differs in from the one that was found."""

    tree: str
    repository_is_gone: bool
    changed: dict[str, str]
    """The letter that git has for the kind of change, by name."""
    forced: frozenset[str]
    """What git ignores and the agent told it to track."""
    left_out: tuple[LeftOut, ...]

    @classmethod
    def parse(cls, found: Found, data: bytes) -> "Changes":
        """Read what `LATER` writes."""
        (tree, repository), inner, left_out, changed, forced = map(names_in, sections(data, 5))
        return cls(
            tree,
            repository == "gone",
            dict(zip(changed[1::2], changed[::2], strict=True)),
            frozenset(forced),
            (
                *inner_repositories.changed(found.inner, inner_repositories.parse(inner)),
                *_new_litter(found.left_out, left_out),
            ),
        )


def sections(data: bytes, count: int) -> list[bytes]:
    """Take lists of names apart: each name has a NUL at its end, and each list but the last an empty name."""
    found: list[bytes] = []
    for _ in range(count - 1):
        section, _, data = (b"", b"", data[1:]) if data.startswith(b"\0") else data.partition(b"\0\0")
        found.append(section)
    return [*found, data]


def names_in(section: bytes) -> list[str]:
    """The names in a list."""
    return section.decode("utf-8", "surrogateescape").removesuffix("\0").split("\0") if section else []


def _new_litter(before: Collection[str], after: list[str]) -> list[LeftOut]:
    # Git names a folder in which everything is ignored beside what is in it.
    folders = litter.every_folder(after)
    new = [name for name in sorted(after) if name not in before and name.removesuffix("/") not in folders]
    return list(map(litter.left_out_by_git, new))
