"""What in a working tree is litter: files that tools leave behind, which are no part of anybody's work.

Two kinds of rules. `RULES` are told by the name alone, and git never looks into what they match. The others need proof:
what lies beside a file, and whether it is a copy of another one. None of them is about a file that is tracked, or a new
one in a folder that has tracked files in it: who tracks `build/` means it.

What git itself ignores (the repository's .gitignore files, its info/exclude, the user's own file) is left out as well,
before any of these.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache


@dataclass(frozen=True)
class Rule:
    """A line of a .gitignore, and what its files are."""

    pattern: str
    reason: str


@dataclass(frozen=True)
class LeftOut:
    """A file, or a whole folder (with a slash at its end), and why it is not in the diff."""

    name: str
    reason: str


RULES = (
    Rule("__pycache__/", "compiled modules of Python"),
    Rule("*.py[cod]", "compiled modules of Python"),
    Rule("*.cpython-*.so", "compiled extensions of Python, which `pip install -e` puts beside their sources"),
    Rule("*.egg-info/", "what `pip install` notes about the package"),
    Rule(".eggs/", "packages that setuptools downloaded in order to build"),
    Rule("/dist/*.whl", "built packages"),
    Rule("/dist/*.egg", "built packages"),
    Rule("pip-wheel-metadata/", "what older versions of pip left of a build"),
    Rule(".pytest_cache/", "what pytest remembers"),
    Rule(".mypy_cache/", "what mypy remembers"),
    Rule(".ruff_cache/", "what ruff remembers"),
    Rule(".hypothesis/", "examples that hypothesis remembers"),
    Rule(".coverage", "measurements of coverage.py"),
    Rule(".tox/", "environments of tox"),
    Rule(".nox/", "environments of nox"),
    Rule(".ipynb_checkpoints/", "what Jupyter saves by itself"),
    Rule("node_modules/", "packages that npm and its like installed"),
)
"""A pattern with a slash at its end means folders, one with a slash at its beginning lies at the top."""

IGNORED = "git ignores it here"
IGNORED_BEFORE = "git ignored it when the work began, so that it is there already wherever the work will go"
BUILT = "what setuptools builds"
COPIED = "copies of sources, which setuptools makes when it builds"
ENVIRONMENT = "a virtual environment of Python"

PROJECT_FILES = ("setup.py", "setup.cfg", "pyproject.toml")
"""One of these lies beside a `build` folder that setuptools made."""
BUILD_FOLDERS = re.compile(r"(bdist|temp)\.[\w.-]+|lib\.\w+-[\w.-]+|scripts-\d+\.\d+")
"""The names that setuptools gives to folders in `build`, but for `lib`, which others have too."""
SOURCE_FOLDERS = ("", "src/", "lib/")
"""Where the file lies that one in `build/lib` is a copy of."""
ENVIRONMENT_FILE = "pyvenv.cfg"
"""Its folder is a virtual environment (PEP 405)."""


def exclude_file(tracked: Iterable[str], own_folder: str | None) -> str:
    """`RULES` as a file for git, without folders that `tracked` files lie in, and with our own folder at that path."""
    lines = [rule.pattern for rule in RULES]
    if own_folder is not None:
        lines.append(f"/{_literally(own_folder)}/")
    # Only those that a rule means by their own name: what lies in one is back with it, and each line costs git time.
    folders = [folder for folder in every_folder(tracked) if _folder_rule(folder.rpartition("/")[2]) is not None]
    # A line break cannot be written in such a file: the new files in that folder stay out.
    lines += [f"!/{_literally(folder)}/" for folder in sorted(folders) if "\n" not in folder]
    return "".join(f"{line}\n" for line in lines)


def left_out_by_git(name: str) -> LeftOut:
    """What git has left out by `RULES`, or by its own."""
    *folders, last = name.split("/")
    rules = [*map(_folder_rule, folders), _file_rule(last), _place_rule(name)]
    told = [rule for rule in rules if rule is not None]
    return LeftOut(name, RULES[min(told)].reason if told else IGNORED)


def may_be_made(changed: Iterable[str]) -> bool:
    """Whether `made_by_tools` could find anything."""
    return any(name.rpartition("/")[2] == ENVIRONMENT_FILE or "build" in name.split("/")[:-1] for name in changed)


def made_by_tools(changed: Collection[str], tracked: Collection[str], present: Collection[str]) -> dict[str, LeftOut]:
    """Which of the files that changed are litter by what lies around them, each with the folder that tools made.

    `tracked` are those that the repository had in its index when the work began, `present` those that there are now.
    """
    known, there = frozenset(tracked), frozenset(present)
    occupied = every_folder(known)
    roots = {name.rpartition("/")[0] for name in changed if name.rpartition("/")[2] == ENVIRONMENT_FILE}
    environments = roots - occupied - {""}
    found: dict[str, LeftOut] = {}
    for name in changed:
        environment = next((folder for folder in folders_of(name) if folder in environments), None)
        if environment is not None:
            found[name] = LeftOut(f"{environment}/", ENVIRONMENT)
        elif name not in known and (built := _built(name, occupied, there)):
            found[name] = built
    return found


def _built(name: str, occupied: Collection[str], there: Collection[str]) -> LeftOut | None:
    parts = name.split("/")
    for at in (at for at, part in enumerate(parts[:-2]) if part == "build"):
        beside = "".join(f"{part}/" for part in parts[:at])
        if f"{beside}build" in occupied or not any(beside + file in there for file in PROJECT_FILES):
            continue
        folder, copied = f"{beside}build/{parts[at + 1]}/", "/".join(parts[at + 2 :])
        if BUILD_FOLDERS.fullmatch(parts[at + 1]):
            return LeftOut(folder, BUILT)
        if parts[at + 1] == "lib" and any(beside + source + copied in there for source in SOURCE_FOLDERS):
            return LeftOut(folder, COPIED)
    return None


def every_folder(names: Iterable[str]) -> set[str]:
    """All the folders that these files and folders lie in."""
    found: set[str] = set()
    for name in names:
        folder = name[:-1].rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def folders_of(name: str) -> list[str]:
    """The folders that a file, or a folder (with a slash at its end), lies in, from the outermost on."""
    return [name[: match.start()] for match in re.finditer("/", name[:-1])]


def _first_rule(are_meant: Callable[[Rule], bool]) -> Callable[[str], int | None]:
    """Tells the first of these rules that means a name. The same names come again and again."""
    patterns = [
        (number, re.compile(translate(rule.pattern.strip("/")))) for number, rule in enumerate(RULES) if are_meant(rule)
    ]

    @lru_cache(maxsize=1 << 14)
    def first(name: str) -> int | None:
        return next((number for number, pattern in patterns if pattern.match(name)), None)

    return first


_folder_rule = _first_rule(lambda rule: rule.pattern.endswith("/") and not rule.pattern.startswith("/"))
_file_rule = _first_rule(lambda rule: "/" not in rule.pattern)
_anchored_rule = _first_rule(lambda rule: rule.pattern.startswith("/"))


def _place_rule(name: str) -> int | None:
    """The rule about what lies right there: its star stands for no slash."""
    rule = _anchored_rule(name)
    return rule if rule is not None and RULES[rule].pattern.count("/") == name.count("/") + 1 else None


def _literally(name: str) -> str:
    """A name in the syntax of a .gitignore."""
    return re.sub(r"([\\*?\[\]!# ])", r"\\\1", name)
