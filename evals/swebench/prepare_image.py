"""Prepare a real SWE-bench instance as a Docker image, where no image registry can be reached.

From a row, a git directory and an interpreter comes an image under the row's own name that satisfies the row's
unmodified ``eval_script``: the repository at ``/testbed`` with no history after the base commit, the interpreter as a
real prefix behind ``conda activate testbed``, the requirements and the project installed. Everything is gathered on this
machine and the container that it is put into has no network, so what worked while preparing works while grading.
"""

from __future__ import annotations

import io
import re
import shlex
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from evals.swebench.prepare_materials import (
    ENVIRONMENT,
    REPOSITORY,
    InstanceRow,
    Interpreter,
    PreparationError,
    Recipe,
    archive_interpreter,
    archive_libraries,
    clone_history,
    collect_wheels,
    complete_requirements,
    inspect_interpreter,
    load_recipe,
    load_row,
)

BASE_IMAGE = "unbroken/base:1"
INSTANCE_LABEL = "instance"


@dataclass(frozen=True)
class Preparation:
    """Everything that decides what the image holds.

    Without a ``prefix`` the environment is made over the base image's own ``python3``. ``wheels`` is a folder that
    already holds every wheel needed; without it they are downloaded. ``install`` of None means the script's own lines.
    """

    row: InstanceRow
    git: Path
    prefix: Path | None = None
    requirements: list[str] = field(default_factory=list[str])
    before_install: list[str] = field(default_factory=list[str])
    install: list[str] | None = None
    wheels: Path | None = None
    base: str = BASE_IMAGE
    force: bool = False


def prepare_image(wanted: Preparation, report: Callable[[str], None] = print) -> str:
    """Build the image and return its name; ``report`` hears one line for each thing done.

    Raises :class:`PreparationError`, and then leaves neither a container nor an image.
    """
    client = _docker_client()
    _check_base(client, wanted.base)
    replaced = _image_to_replace(client, wanted)
    interpreter = inspect_interpreter(wanted.prefix) if wanted.prefix else None
    with tempfile.TemporaryDirectory(prefix="unbroken-prepare-") as folder:
        materials = _gather(wanted, interpreter, Path(folder), report)
        with _container(client, wanted.base) as container:
            _fill(container, wanted, interpreter, materials, report)
            _commit_image(container, wanted.row)
    if replaced:
        _remove_quietly(client, replaced)
    size = client.images.get(wanted.row.image).attrs["Size"]
    report(f"image {wanted.row.image}: {size / 1e6:.0f} MB with its base")
    return wanted.row.image


def main() -> None:
    """Run the command line of ``scripts/prepare_instance``."""
    typer.run(_command)


def _command(
    dataset: Annotated[Path, typer.Option(help="A .parquet, .json or .jsonl file of SWE-bench rows.")],
    instance: Annotated[str, typer.Option(help="The instance id to prepare.")],
    git: Annotated[Path, typer.Option(help="A git directory (bare or not) that has the row's base commit.")],
    python: Annotated[Path | None, typer.Option(help="An installation's folder; else the base image's python3.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="Pins; else scripts/instances/INSTANCE.toml if there.")] = None,
    requirements: Annotated[Path | None, typer.Option(help="A file of requirements to add, one a line.")] = None,
    pip: Annotated[list[str] | None, typer.Option(help='A requirement to add, such as "py==1.11.0"; repeatable.')] = None,
    install: Annotated[list[str] | None, typer.Option(help="A command instead of the script's own install lines.")] = None,
    wheels: Annotated[Path | None, typer.Option(help="A folder that holds all wheels: nothing is downloaded.")] = None,
    base: Annotated[str, typer.Option(help="The image to start from.")] = BASE_IMAGE,
    force: Annotated[bool, typer.Option(help="Overwrite an image that was not prepared here.")] = False,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Prepare a real SWE-bench instance: an image under the row's name that satisfies its eval_script."""
    try:
        row = load_row(dataset, instance)
        pins = _recipe(recipe, instance)
        prefix = python.expanduser() if python else None
        _check_version(pins, prefix)
        wanted = Preparation(
            row=row,
            git=git.expanduser(),
            prefix=prefix,
            requirements=[*pins.requirements, *_lines(requirements), *(pip or [])],
            before_install=pins.before_install,
            install=install or pins.install,
            wheels=wheels,
            base=base,
            force=force,
        )
        prepare_image(wanted, lambda line: typer.echo(line, err=True))
    except PreparationError as error:
        if debug:
            raise
        typer.echo(f"prepare_instance: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    typer.echo(row.image)


def _recipe(path: Path | None, instance: str) -> Recipe:
    ours = Path(__file__).parents[2] / "scripts" / "instances" / f"{instance}.toml"
    if path is None and not ours.exists():
        return Recipe(instance=instance)
    return load_recipe(path or ours, instance)


def _check_version(recipe: Recipe, prefix: Path | None) -> None:
    if prefix and recipe.python and (version := inspect_interpreter(prefix).version) != recipe.python:
        message = f"The recipe pins its requirements for Python {recipe.python}, and {prefix} is {version}: give a {recipe.python}."
        raise PreparationError(message, usage=True)
    if prefix is None and recipe.python:
        raise PreparationError(f"The recipe needs Python {recipe.python}: give its folder as --python.", usage=True)


def _lines(requirements: Path | None) -> list[str]:
    if requirements is None:
        return []
    if not requirements.is_file():
        raise PreparationError(f"There is no requirements file {requirements}.", usage=True)
    lines = (line.partition("#")[0].strip() for line in requirements.read_text().splitlines())
    return [line for line in lines if line]


@dataclass(frozen=True)
class _Materials:
    history: Path
    interpreter: Path
    libraries: Path
    wheels: Path
    requirements: list[str]


def _gather(
    wanted: Preparation, interpreter: Interpreter | None, folder: Path, report: Callable[[str], None]
) -> _Materials:
    requirements = list(wanted.requirements)
    wheels = wanted.wheels or folder / "wheels"
    if wanted.wheels is None:
        requirements = complete_requirements(requirements, interpreter)
        wheels.mkdir()
    materials = _Materials(folder / "testbed", folder / "prefix.tar", folder / "libraries.tar", wheels, requirements)
    commits = clone_history(wanted.git, wanted.row.base_commit, materials.history)
    report(f"history: {commits} commits, the last is {wanted.row.base_commit[:12]}")
    if interpreter:
        archive_interpreter(interpreter, materials.interpreter)
        report(f"interpreter: Python {interpreter.version} from {interpreter.prefix}")
    if wanted.wheels is None and requirements:
        if interpreter is None:
            message = "Requirements need --python (wheels are chosen for an interpreter) or --wheels (a folder of them)."
            raise PreparationError(message, usage=True)
        collect_wheels(requirements, interpreter, wheels)
        report(f"wheels: {len(list(wheels.glob('*.whl')))}")
    return materials


def _fill(
    container: Any,
    wanted: Preparation,
    interpreter: Interpreter | None,
    materials: _Materials,
    report: Callable[[str], None],
) -> None:
    _put_folder(container, materials.history, REPOSITORY)
    _put_files(container, _CONDA_FILES)
    if interpreter:
        _put_tar(container, materials.interpreter)
        _supply_libraries(container, interpreter, materials.libraries)
    else:
        _sh(container, f"python3 -m venv --system-site-packages --without-pip {ENVIRONMENT}", "Making the environment")
    _put_files(container, {f"{ENVIRONMENT}/pip.conf": _PIP_SETTINGS})
    _sh(container, _CHECK_OUT, "The checkout")
    if materials.requirements:
        _put_folder(container, materials.wheels, _WHEELS)
        names = shlex.join(materials.requirements)
        _sh(container, f"python $(echo {_WHEELS}/pip-*.whl)/pip install -q {names}", "Installing the requirements")
    commands = wanted.row.install_commands() if wanted.install is None else wanted.install
    for command in [*wanted.before_install, *commands]:
        report(f"in the image: {command}")
        _sh(container, command, f"`{command}`")
    report(_sh(container, _FINISH, "The last commit").strip().splitlines()[-1])


def _supply_libraries(container: Any, interpreter: Interpreter, archive: Path) -> None:
    """Copy this machine's libraries rather than install packages: these are the very ones that the interpreter runs on."""
    supplied: set[str] = set()
    # A library asks for others only once it is there itself.
    while missing := _missing_libraries(container, interpreter):
        if supplied.issuperset(missing):
            raise PreparationError(f"{interpreter.prefix} does not run in the image: it lacks {', '.join(missing)}.")
        archive_libraries(missing, interpreter, archive)
        _put_tar(container, archive)
        _sh(container, "ldconfig", "Registering the interpreter's libraries")
        supplied.update(missing)


def _missing_libraries(container: Any, interpreter: Interpreter) -> list[str]:
    modules = f"{ENVIRONMENT}/lib/python{interpreter.version}/lib-dynload/*.so"
    listing = _sh(container, f"ldd {ENVIRONMENT}/bin/python {modules}", "ldd", directory="/")
    return sorted(set(re.findall(r"^\s*(\S+) => not found", listing, re.MULTILINE)))


_WHEELS = "/tmp/wheels"  # noqa: S108 - inside the container, and removed before the image is made

_CONDA = f"""\
# The part of conda that evaluation scripts use: `conda activate NAME` puts that environment first on PATH.
conda() {{
    [ "${{1:-}}" = activate ] || {{ echo "conda: only 'conda activate' is provided here" >&2; return 1; }}
    local prefix="{Path(ENVIRONMENT).parent}/${{2:-testbed}}"
    [ -d "$prefix" ] || {{ echo "conda: no environment $prefix" >&2; return 1; }}
    case ":$PATH:" in "::$prefix/bin:"*|":$prefix/bin:"*) ;; *) export PATH="$prefix/bin:$PATH" ;; esac
    export CONDA_PREFIX="$prefix" CONDA_DEFAULT_ENV="${{2:-testbed}}"
    hash -r
}}
"""

_CONDA_FILES = {
    "/opt/miniconda3/bin/activate": _CONDA,
    "/opt/miniconda3/etc/profile.d/conda.sh": _CONDA,
    "/root/.bashrc": "source /opt/miniconda3/bin/activate\nconda activate testbed\n",
}

# pip reads a store-false option's value as the value itself, so `false` is what turns isolation off.
_PIP_SETTINGS = """\
[global]
no-build-isolation = false
disable-pip-version-check = true
root-user-action = ignore
"""

_CHECK_OUT = f"""
git config --system --add safe.directory {REPOSITORY}
git config --system user.name SWE-bench
git config --system user.email setup@swebench.config
git reset --quiet --hard main
"""

# Work trees must be clean when a model meets them: what preparing changed would otherwise be harvested as its work.
_FINISH = f"""
rm -rf {_WHEELS} /root/.cache
if [ -n "$(git status --porcelain)" ]; then
    export GIT_AUTHOR_DATE="$(git log -1 --format=%cI)"
    export GIT_COMMITTER_DATE="$GIT_AUTHOR_DATE"
    git add --all && git commit --quiet --message SWE-bench
fi
rm -rf .git/logs .git/ORIG_HEAD
test -z "$(git status --porcelain)"
test -z "$(git rev-list --all --not HEAD)"
echo "work tree: clean at $(git log -1 --format='%h %s')"
"""

_SETTINGS_WHILE_PREPARING = {
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": _WHEELS,
    "PIP_NO_CACHE_DIR": "1",
    "PATH": f"{ENVIRONMENT}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}


def _docker_client() -> Any:
    import docker
    from docker.errors import DockerException

    try:
        return docker.from_env(timeout=600)
    except DockerException as error:
        message = f"Docker does not answer ({error}): start the engine, or set DOCKER_HOST to where it listens."
        raise PreparationError(message) from error


def _check_base(client: Any, base: str) -> None:
    from docker.errors import ImageNotFound

    try:
        client.images.get(base)
    except ImageNotFound as error:
        message = f"There is no base image {base}: build it with scripts/base_image, or name another with --base."
        raise PreparationError(message) from error


def _image_to_replace(client: Any, wanted: Preparation) -> str | None:
    """The id of an earlier image of ours with this name; an image of anyone else is not overwritten unasked."""
    from docker.errors import ImageNotFound

    try:
        image = client.images.get(wanted.row.image)
    except ImageNotFound:
        return None
    if image.labels.get("unbroken.image") != INSTANCE_LABEL and not wanted.force:
        message = f"{wanted.row.image} exists and was not prepared here: keep it, or overwrite the name with --force."
        raise PreparationError(message)
    return str(image.id)


def _remove_quietly(client: Any, image_id: str) -> None:
    from docker.errors import APIError

    try:
        client.images.remove(image_id)
    except APIError:  # a container still uses it, or it is the very image just made: it may stay
        return


@contextmanager
def _container(client: Any, base: str) -> Iterator[Any]:
    container = client.containers.run(base, ["sleep", "infinity"], detach=True, network_mode="none", init=True)
    try:
        yield container
    finally:
        container.remove(force=True)


def _commit_image(container: Any, row: InstanceRow) -> None:
    repository, separator, tag = row.image.rpartition(":")
    if not separator or "/" in tag:
        repository, tag = row.image, "latest"
    changes = [
        f"LABEL unbroken.image={INSTANCE_LABEL} unbroken.instance={row.instance_id}",
        f"WORKDIR {REPOSITORY}",
        'CMD ["/bin/bash"]',
    ]
    container.commit(repository, tag, changes="\n".join(changes))


def _sh(container: Any, script: str, what: str, directory: str = REPOSITORY) -> str:
    code, output = container.exec_run(
        ["bash", "-ec", script], workdir=directory, environment=_SETTINGS_WHILE_PREPARING
    )
    text = output.decode(errors="replace")
    if code:
        raise PreparationError(f"{what} failed in the image (exit {code}):\n{text.strip()[-2000:]}")
    return text


def _put_tar(container: Any, archive: Path) -> None:
    with archive.open("rb") as stream:
        container.put_archive("/", stream)


def _put_folder(container: Any, folder: Path, inside: str) -> None:
    with tempfile.TemporaryFile() as stream:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.add(folder, inside.lstrip("/"), filter=_as_root)
        stream.seek(0)
        container.put_archive("/", stream)


def _put_files(container: Any, files: dict[str, str]) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size, member.mode = len(text.encode()), 0o755
            archive.addfile(member, io.BytesIO(text.encode()))
    container.put_archive("/", stream.getvalue())


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
