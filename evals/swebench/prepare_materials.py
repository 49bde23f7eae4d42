"""What a prepared instance is made of, gathered on this machine: the row, the history, the interpreter, the wheels.

Nothing here touches Docker. Each function reads what it was pointed at, writes only below the folder it was given,
and raises :class:`PreparationError` with a sentence that names the thing at fault and the way out.
"""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from evals.swebench.dataset import DatasetError, Row, load_dataset

ENVIRONMENT = "/opt/miniconda3/envs/testbed"
REPOSITORY = "/testbed"
LIBRARIES = "/usr/local/lib"

_TEST_OUTPUT = ">>>>> Start Test Output"
_INSTALL = re.compile(r"^(python\d? -m )?pip\d? install .+$", re.MULTILINE)
_EXECUTABLE = re.compile(r"python(\d(\.\d+)?m?)?$")
_LINKED = re.compile(r"^\s*(?P<name>\S+) => (?P<path>/\S+)", re.MULTILINE)


class PreparationError(Exception):
    """An instance cannot be prepared; the message says what is wrong, with what, and what to do."""

    def __init__(self, message: str, *, usage: bool = False) -> None:
        super().__init__(message)
        self.exit_code = 2 if usage else 1


class Recipe(BaseModel):
    """Pinned requirements of one instance, as the files in ``scripts/instances`` state them.

    ``python`` is the version the pins were chosen for (``"3.9"``). ``before_install`` are shell commands run in the
    work tree; what they change ends up in the commit on top. ``install`` replaces the script's own install lines.
    """

    model_config = ConfigDict(extra="forbid")

    instance: str
    python: str = ""
    requirements: list[str] = []
    before_install: list[str] = []
    install: list[str] | None = None


@dataclass(frozen=True)
class Interpreter:
    """A whole Python installation below one folder, as ``make install`` or pyenv leaves it."""

    prefix: Path
    executable: Path
    version: str

    @property
    def library(self) -> Path:
        """The folder of its standard library."""
        return self.prefix / "lib" / f"python{self.version}"


def load_row(dataset: Path, instance: str) -> Row:
    """Find one instance in a file of SWE-bench rows."""
    try:
        rows = load_dataset(str(dataset)).of(Row).select([instance]).rows
    except DatasetError as error:
        raise PreparationError(str(error), usage=True) from error
    if len(rows) > 1:
        message = f"{instance!r} is a pattern for {len(rows)} instances: prepare one at a time."
        raise PreparationError(message, usage=True)
    return rows[0]


def install_commands(eval_script: str) -> list[str]:
    """The script's own ``pip install`` lines, up to where its tests begin."""
    preamble = eval_script.partition(_TEST_OUTPUT)[0]
    return [match.group() for match in _INSTALL.finditer(preamble)]


def load_recipe(path: Path, instance: str) -> Recipe:
    """Read a recipe and see that it was written for this instance."""
    import tomllib

    try:
        recipe = Recipe.model_validate(tomllib.loads(path.read_text()))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        message = f"The recipe {path} cannot be read: {error}"
        raise PreparationError(message, usage=True) from error
    if recipe.instance != instance:
        message = f"The recipe {path} is for {recipe.instance}, not for {instance}."
        raise PreparationError(message, usage=True)
    return recipe


def clone_history(source: Path, base_commit: str, into: Path) -> int:
    """Copy the history that ends at ``base_commit`` into a new repository, and nothing newer.

    Only ancestors and the tags on them are packed (setuptools_scm reads versions from tags), so that no later object,
    branch, remote or reflog can be present. The branch is ``main``; nothing is checked out. Returns how many commits.
    """
    _require_commit(source, base_commit)
    tags = [line.split() for line in _git_lines(source, "for-each-ref", *_MERGED_TAGS, f"--merged={base_commit}")]
    wanted = "\n".join([base_commit, *(oid for oid, _ in tags)]).encode()
    _git(into.parent, "init", "--quiet", "--initial-branch=main", str(into))
    pack = _git(source, "pack-objects", "--revs", "--stdout", "-q", input_=wanted)
    _git(into, "index-pack", "--stdin", input_=pack)
    for oid, name in [*tags, [base_commit, "refs/heads/main"]]:
        _git(into, "update-ref", "--no-deref", name, oid)
    return int(_git(into, "rev-list", "--count", "--all"))


def inspect_interpreter(prefix: Path) -> Interpreter:
    """See that ``prefix`` is a whole installation and not an environment made from one."""
    if (prefix / "pyvenv.cfg").exists():
        message = f"{prefix} is a virtual environment: give the installation it was made from (`home` in pyvenv.cfg)."
        raise PreparationError(message, usage=True)
    executable = next((path for name in ("python3", "python") if (path := prefix / "bin" / name).exists()), None)
    if executable is None:
        message = (
            f"There is no interpreter {prefix}/bin/python3: give the folder of an installation (say, a pyenv one)."
        )
        raise PreparationError(message, usage=True)
    version = _run([str(executable), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], "The interpreter")
    return Interpreter(prefix.resolve(), executable, version.strip())


def archive_interpreter(interpreter: Interpreter, into: Path) -> None:
    """Write the installation as a tar that unpacks at ``/`` to a real prefix, without what others installed in it."""
    with tarfile.open(into, "w") as archive:
        for path in _standard_files(interpreter):
            inside = f"{ENVIRONMENT}/{path.relative_to(interpreter.prefix)}".lstrip("/")
            archive.add(path, inside, recursive=False, filter=owned_by_root)
        _add_link(archive, f"{ENVIRONMENT}/bin/python", f"python{interpreter.version}")


def linked_libraries(interpreter: Interpreter) -> dict[str, Path]:
    """The shared libraries that the interpreter and its modules load on this machine, by the name they ask for."""
    modules = sorted((interpreter.library / "lib-dynload").glob("*.so"))
    listing = _run(["ldd", str(interpreter.executable), *map(str, modules)], "ldd")
    return {match["name"]: Path(match["path"]) for match in _LINKED.finditer(listing)}


def archive_libraries(names: list[str], interpreter: Interpreter, into: Path) -> None:
    """Write the named libraries as a tar that unpacks at ``/`` to where the dynamic linker finds them."""
    linked = linked_libraries(interpreter)
    with tarfile.open(into, "w", dereference=True) as archive:
        for name in names:
            if name not in linked:
                message = f"{interpreter.prefix} needs {name}, which this machine does not have either."
                raise PreparationError(message)
            if linked[name].is_relative_to(interpreter.prefix):
                inside = linked[name].relative_to(interpreter.prefix)
                _add_link(archive, f"{LIBRARIES}/{name}", f"{ENVIRONMENT}/{inside}")
            else:
                archive.add(linked[name], f"{LIBRARIES}/{name}".lstrip("/"), filter=owned_by_root)


def owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Forget who owns a file here: a filter for ``TarFile.add``."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def downloadable_tools(interpreter: Interpreter) -> dict[str, str]:
    """What ``pip install`` without build isolation needs, as requirements that an index can answer."""
    return {"pip": f"pip=={_pip_version(interpreter)}", "setuptools": "setuptools", "wheel": "wheel"}


def supplied_tools(wheels: Path) -> dict[str, str]:
    """The same tools, as far as a folder of wheels has them."""
    return {name: name for name in _TOOLS if any(wheels.glob(f"{name}-*.whl"))}


def complete_requirements(requirements: list[str], tools: dict[str, str]) -> list[str]:
    """Put those tools first that the list does not name itself."""
    named = {_project(requirement) for requirement in requirements}
    return [*(tool for name, tool in tools.items() if name not in named), *requirements]


def collect_wheels(requirements: list[str], interpreter: Interpreter, into: Path) -> None:
    """Download the requirements and what they need as wheels for this interpreter; build those that have none.

    The pip that will be installed also resolves, run from its own wheel, so that an old interpreter's older pip cannot
    choose differently. Index, proxy and certificates are this machine's own pip settings.
    """
    pip = next(requirement for requirement in requirements if _project(requirement) == "pip")
    python = str(interpreter.executable)
    _run([python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(into), pip], "pip download")
    installer = next(into.glob("pip-*.whl")) / "pip"
    _run([python, str(installer), "wheel", "--quiet", "--wheel-dir", str(into), *requirements], "pip wheel")


def unpinned(requirements: list[str], wheels: Path) -> list[str]:
    """The wheels that no exact pin chose, as the pins that a recipe needs to give the same image again."""
    pinned = {_project(requirement) for requirement in requirements if "==" in requirement}
    found = (path.name.split("-")[:2] for path in sorted(wheels.glob("*.whl")))
    return [f"{name}=={version}" for name, version in found if _project(name) not in pinned]


_TOOLS = ("pip", "setuptools", "wheel")
_MERGED_TAGS = ("--format=%(objectname) %(refname)", "refs/tags")
_LEFT_OUT = ("site-packages", "idlelib", "turtledemo")


def _project(requirement: str) -> str:
    name = re.split(r"[\s\[<>=!~;@]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def _require_commit(source: Path, commit: str) -> None:
    probe = ["git", *_SAFE, "-C", str(source), "rev-parse", "--is-shallow-repository"]
    outcome = subprocess.run(probe, capture_output=True, text=True, check=False)
    if outcome.returncode:
        message = f"{source} is no git directory: {outcome.stderr.strip()}"
        raise PreparationError(message, usage=True)
    if outcome.stdout.strip() == "true":
        message = f"{source} is a shallow clone: run `git fetch --unshallow` in it first."
        raise PreparationError(message, usage=True)
    known = subprocess.run(
        ["git", *_SAFE, "-C", str(source), "cat-file", "-e", f"{commit}^{{commit}}"], capture_output=True, check=False
    )
    if known.returncode:
        message = f"{source} lacks the commit {commit}: fetch it, or point --git at a clone of the row's repository."
        raise PreparationError(message, usage=True)


# The caller named this directory, so its owner is no reason to refuse it.
_SAFE = ("-c", "safe.directory=*")


def _git(directory: Path, *arguments: str, input_: bytes | None = None) -> bytes:
    command = ["git", *_SAFE, "-C", str(directory), *arguments]
    outcome = subprocess.run(command, input=input_, capture_output=True, check=False)
    if outcome.returncode:
        said = outcome.stderr.decode(errors="replace").strip()
        message = f"git {arguments[0]} failed in {directory}: {said}"
        raise PreparationError(message)
    return outcome.stdout


def _git_lines(directory: Path, *arguments: str) -> list[str]:
    return _git(directory, *arguments).decode().splitlines()


def _run(command: list[str], what: str) -> str:
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    if outcome.returncode:
        lines = (outcome.stderr or outcome.stdout).strip().splitlines()
        said = "\n".join([line for line in lines if line.startswith("ERROR: ")][-2:] or lines[-20:])
        message = f"{what} failed ({' '.join(command[:4])} …):\n{said}"
        raise PreparationError(message)
    return outcome.stdout


def _pip_version(interpreter: Interpreter) -> str:
    command = [str(interpreter.executable), "-m", "pip", "--version"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    if outcome.returncode:
        message = f"{interpreter.executable} has no pip: run `{interpreter.executable} -m ensurepip` first."
        raise PreparationError(message, usage=True)
    return outcome.stdout.split()[1]


def _standard_files(interpreter: Interpreter) -> Iterator[Path]:
    yield from (path for path in (interpreter.prefix / "bin").iterdir() if _EXECUTABLE.fullmatch(path.name))
    yield from (path for path in (interpreter.prefix / "lib").glob("*.so*"))
    yield from (interpreter.prefix / "include").rglob("*")
    for folder, folders, files in os.walk(interpreter.library):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        here = Path(folder)
        if here == interpreter.library / "test":
            folders[:] = ["support"]
            files = [name for name in files if name == "__init__.py"]
        yield from (here / name for name in files if not name.endswith(".a"))


def _add_link(archive: tarfile.TarFile, name: str, target: str) -> None:
    link = tarfile.TarInfo(name.lstrip("/"))
    link.type, link.linkname = tarfile.SYMTYPE, target
    archive.addfile(link)
