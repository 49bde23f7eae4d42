"""What the audit remembers of a trial while it reads on: what is known, what was made, where the shell stands."""

import re
from dataclasses import dataclass, field

from evals.audit.paths import resolve
from evals.audit.project import Project

_HASH = re.compile(r"(?<![0-9a-zA-Z])[0-9a-f]{7,40}(?![0-9a-zA-Z])")
_SHORTEST_HASH = 7
_LARGEST_SCRIPT = 1_000_000


@dataclass
class Scene:
    """The state of a trial. What is kept is no larger than what was read."""

    project: Project
    directory: str = ""
    """Where the shell stands; the project's folder at first."""
    known_commits: set[str] = field(default_factory=set[str])
    """The first letters of hashes that the task's text or the history of HEAD showed."""
    created: set[str] = field(default_factory=set[str])
    seen: set[str] = field(default_factory=set[str])
    """Test files that were there before the agent wrote any."""
    scripts: dict[str, str] = field(default_factory=dict[str, str])
    """What the agent wrote into files and has not run yet."""

    def __post_init__(self) -> None:
        self.directory = self.directory or self.project.directory

    def path(self, written: str) -> str:
        """An absolute path for what a call wrote."""
        return resolve(written, self.directory)

    def enter(self, folder: str) -> None:
        """Follow a `cd`; where it leads nobody knows to, the project's folder is taken."""
        is_plain = folder and not folder.startswith(("-", "~", "$"))
        self.directory = self.path(folder) if is_plain else self.project.directory

    def is_known(self, commit: str) -> bool:
        """Whether a hash was shown before by what shows only the past."""
        return commit[:_SHORTEST_HASH] in self.known_commits

    def learn_commits(self, text: str) -> None:
        """Take note of all hashes in `text`."""
        self.known_commits.update(found[0][:_SHORTEST_HASH] for found in _HASH.finditer(text))

    def keep_script(self, path: str, text: str) -> None:
        """Remember what a file has, in case that it is run."""
        if text and len(text) <= _LARGEST_SCRIPT:
            self.scripts[path] = text

    def take_script(self, path: str) -> str:
        """What a file has that is run; once, so that running it often costs nothing."""
        return self.scripts.pop(path, "")
