"""A task of Harbor's format, as a directory: what has to be there, and what an agent is told.

A directory that is no task says why, with the file and the key; none is left out without a word.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from evals.terminal_bench.task_file import (
    TaskFile,
    TaskFileError,
    not_enforced,
    parse_task_file,
    unknown_keys,
    unsupported,
)

SETTINGS = "task.toml"
INSTRUCTION = "instruction.md"
TEST_ENTRY = "test.sh"
SOLUTION_ENTRY = "solve.sh"
EARLIER = "trajectory.json"
"""A conversation in ATIF that an agent goes on from, of a task or of a step."""
_IMAGE_FILES = ("Dockerfile", "docker-compose.yaml")


@dataclass(frozen=True)
class Problem:
    """Why a directory is no task that can be run, or what is odd about it."""

    file: str
    """Below the task's directory."""
    key: str
    """Of the file, such as `steps[0].name`; empty where it is the file itself."""
    reason: str

    def __str__(self) -> str:
        """File, key and reason, on one line."""
        place = f"{self.file}, {self.key}" if self.key else self.file
        return f"{place}: {self.reason}"


@dataclass(frozen=True)
class TaskDirectory:
    """A directory that is a task."""

    path: Path
    file: TaskFile
    warnings: list[Problem] = field(default_factory=list[Problem])

    @property
    def name(self) -> str:
        """By which it is known: what its `[task]` says, else its directory's name."""
        return self.file.task.name if self.file.task else self.path.name

    @property
    def has_solution(self) -> bool:
        """Whether every part of it has a solution of its own."""
        return all((folder / "solution" / SOLUTION_ENTRY).is_file() for folder in self._parts())

    @property
    def files_beside_image(self) -> Path | None:
        """`environment/` of a task whose image is there already, where no other is built from it.

        What lies in it is brought into the container, as by Harbor 0.25.0.
        """
        folder = self.path / "environment"
        is_recipe = any((folder / name).is_file() for name in _IMAGE_FILES)
        return folder if self.file.environment.docker_image and folder.is_dir() and not is_recipe else None

    def instruction(self, step: str | None = None) -> str:
        """What the agent is told, of the whole task or of one step, without what marks it for search engines."""
        folder = self.path / "steps" / step if step else self.path
        return without_canary((folder / INSTRUCTION).read_text(encoding="utf-8"))

    def _parts(self) -> list[Path]:
        steps = [self.path / "steps" / step.name for step in self.file.steps or ()]
        return [folder if (folder / "solution").exists() else self.path for folder in steps] or [self.path]


class InvalidTaskError(Exception):
    """A directory that is no task that can be run here; `problems` says why."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        super().__init__(f"{path.name}: " + "; ".join(map(str, problems)))
        self.path = path
        self.problems = problems


def read_task(path: Path) -> TaskDirectory:
    """Read the task in a directory. Raises InvalidTaskError with everything that is wrong about it."""
    try:
        file = parse_task_file((path / SETTINGS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidTaskError(path, [Problem(SETTINGS, "", "it is missing")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidTaskError(path, [Problem(SETTINGS, "", f"it cannot be read: {error}")]) from error
    except TaskFileError as error:
        raise InvalidTaskError(path, [Problem(SETTINGS, key, reason) for key, reason in error.problems]) from error
    problems = [Problem(SETTINGS, key, reason) for key, reason in unsupported(file)]
    problems += [*_lacking(path, file), *_escaping(path), *_unreadable_earlier(path, file)]
    if problems:
        raise InvalidTaskError(path, problems)
    told = [(key, "this key is not known") for key in unknown_keys(file)]
    return TaskDirectory(path, file, [Problem(SETTINGS, *each) for each in (*told, *not_enforced(file))])


def without_canary(text: str) -> str:
    """An instruction without its leading comments that hold the word canary, and the blank lines after each."""
    lines = text.splitlines(keepends=True)
    begin = 0
    while begin < len(lines) and _is_canary(lines[begin].strip()):
        begin += 1
        while begin < len(lines) and not lines[begin].strip():
            begin += 1
    return "".join(lines[begin:])


def _is_canary(line: str) -> bool:
    return "canary" in line.lower() and (line.startswith("#") or (line.startswith("<!--") and line.endswith("-->")))


def _lacking(path: Path, file: TaskFile) -> Iterator[Problem]:
    environment = path / "environment"
    if not file.environment.docker_image and not any((environment / name).is_file() for name in _IMAGE_FILES):
        reason = f"there is neither a {' nor a '.join(_IMAGE_FILES)} in it, and no [environment].docker_image"
        yield Problem("environment/", "", reason)
    if not file.steps:
        yield from _lacking_of_part(path, Path(), tests_baked=_bakes_tests(path, file))
    for step in file.steps or ():
        folder = Path("steps", step.name)
        if not (path / folder).is_dir():
            yield Problem(f"{folder}/", "", "the folder of this step is missing")
            continue
        baked = _bakes_tests(path, file) or bool(step.verifier.environment and step.verifier.environment.docker_image)
        yield from _lacking_of_part(path, folder, tests_baked=baked)


def _lacking_of_part(path: Path, folder: Path, *, tests_baked: bool) -> Iterator[Problem]:
    yield from _unreadable(path, folder / INSTRUCTION)
    entries = (folder / "tests" / TEST_ENTRY, Path("tests") / TEST_ENTRY)
    if not tests_baked and not any((path / entry).is_file() for entry in entries):
        yield Problem(str(entries[0]), "", "it is missing, so nothing would judge the work")


def _bakes_tests(path: Path, file: TaskFile) -> bool:
    """Whether a verifier's own image brings the tests."""
    if file.verifier.mode == "shared":
        return False
    image = file.verifier.environment and file.verifier.environment.docker_image
    return bool(image) or any((path / "tests" / name).is_file() for name in _IMAGE_FILES)


def _unreadable(path: Path, file: Path) -> Iterator[Problem]:
    try:
        text = (path / file).read_text(encoding="utf-8")
    except FileNotFoundError:
        yield Problem(str(file), "", "it is missing")
    except (OSError, UnicodeDecodeError) as error:
        yield Problem(str(file), "", f"it cannot be read: {error}")
    else:
        if not without_canary(text).strip():
            yield Problem(str(file), "", "it is empty, so the agent would be told nothing")


def _unreadable_earlier(path: Path, file: TaskFile) -> Iterator[Problem]:
    from evals.atif.earlier import EarlierConversationError, read_earlier

    if file.steps and (path / EARLIER).is_file():
        yield Problem(EARLIER, "", "a task of several steps has one in the folder of a step, before which it was held")
    for folder in [Path("steps", step.name) for step in file.steps or ()] or [Path()]:
        if (path / folder / EARLIER).is_file():
            try:
                read_earlier(path / folder / EARLIER)
            except (EarlierConversationError, OSError) as error:
                yield Problem(str(folder / EARLIER), "", str(error))


def _escaping(path: Path) -> Iterator[Problem]:
    root = path.resolve()
    for each in sorted(path.rglob("*")):
        if each.is_symlink() and not _leads_below(root, each):
            yield Problem(str(each.relative_to(path)), "", "it is a link that leads out of the task")


def _leads_below(root: Path, link: Path) -> bool:
    try:
        return link.resolve().is_relative_to(root)
    except RuntimeError:  # links that lead to one another
        return False
