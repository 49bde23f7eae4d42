"""Prepare a real SWE-bench instance as a Docker image, where no image registry can be reached.

From a row, a git directory and an interpreter comes an image under the row's own name that satisfies the row's
unmodified ``eval_script``: the repository at ``/testbed`` with no history after the base commit, the interpreter as a
real prefix behind ``conda activate testbed``, the requirements and the project installed. Everything is gathered on
this machine and the container that it is put into has no network, so what worked while preparing works while grading.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from evals.swebench.dataset import Row
from evals.swebench.prepare_container import (
    WHEELS,
    PreparationContainer,
    docker_client,
    image_to_replace,
    open_container,
    remove_image,
    require_base,
)
from evals.swebench.prepare_materials import (
    ENVIRONMENT,
    REPOSITORY,
    Interpreter,
    PreparationError,
    Recipe,
    archive_interpreter,
    archive_libraries,
    clone_history,
    collect_wheels,
    complete_requirements,
    downloadable_tools,
    inspect_interpreter,
    install_commands,
    load_recipe,
    load_row,
    supplied_tools,
    unpinned,
)
from runners.owner import temporary_folder

BASE_IMAGE = "unbroken/base:1"


@dataclass(frozen=True)
class Preparation:
    """Everything that decides what the image holds.

    Without a ``prefix`` the environment is made over the base image's own ``python3``. ``wheels`` is a folder that
    already holds every wheel needed; without it they are downloaded. ``install`` of None means the script's own lines.
    """

    row: Row
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
    with docker_client() as client:
        require_base(client, wanted.base)
        replaced = image_to_replace(client, wanted.row.image, force=wanted.force)
        interpreter = inspect_interpreter(wanted.prefix) if wanted.prefix else None
        with temporary_folder() as folder:
            materials = _gather(wanted, interpreter, folder, report)
            with open_container(client, wanted.base) as container:
                _fill(container, wanted, materials, report)
                container.keep_as(wanted.row.image, wanted.row.instance_id)
        image = client.images.get(wanted.row.image)
        if replaced and replaced != image.id:
            remove_image(client, replaced)
        report(f"image {wanted.row.image}: {image.attrs['Size'] / 1e6:.0f} MB with its base")
    return wanted.row.image


def main() -> None:
    """Run the command line of ``scripts/prepare_instance``."""
    typer.run(_command)


def _command(
    dataset: Annotated[Path, typer.Option(help="A .parquet, .json or .jsonl file of SWE-bench rows.")],
    instance: Annotated[str, typer.Option(help="The instance id to prepare.")],
    git: Annotated[Path, typer.Option(help="A git directory (bare or not) that has the row's base commit.")],
    python: Annotated[
        Path | None, typer.Option(help="An installation's folder; else the base image's python3.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="Pins; else scripts/instances/INSTANCE.toml if there.")] = None,
    requirements: Annotated[Path | None, typer.Option(help="A file of requirements to add, one a line.")] = None,
    pip: Annotated[
        list[str] | None, typer.Option(help='A requirement to add, such as "py==1.11.0"; repeatable.')
    ] = None,
    install: Annotated[
        list[str] | None, typer.Option(help="A command instead of the script's own install lines.")
    ] = None,
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
    except (PreparationError, OSError) as error:
        if debug:
            raise
        typer.echo(f"prepare_instance: {error}", err=True)
        raise typer.Exit(getattr(error, "exit_code", 1)) from None
    typer.echo(row.image)


def _recipe(path: Path | None, instance: str) -> Recipe:
    ours = Path(__file__).parents[2] / "scripts" / "instances" / f"{instance}.toml"
    if path is None and not ours.exists():
        return Recipe(instance=instance)
    return load_recipe(path or ours, instance)


def _check_version(recipe: Recipe, prefix: Path | None) -> None:
    if prefix and recipe.python and (version := inspect_interpreter(prefix).version) != recipe.python:
        message = (
            f"{prefix} is Python {version}, and the recipe's pins are for {recipe.python}: give one of that version."
        )
        raise PreparationError(message, usage=True)
    if prefix is None and recipe.python:
        message = f"The recipe needs Python {recipe.python}: give its folder as --python."
        raise PreparationError(message, usage=True)


def _lines(requirements: Path | None) -> list[str]:
    if requirements is None:
        return []
    if not requirements.is_file():
        message = f"There is no requirements file {requirements}."
        raise PreparationError(message, usage=True)
    lines = (line.partition("#")[0].strip() for line in requirements.read_text().splitlines())
    return [line for line in lines if line]


@dataclass(frozen=True)
class _Materials:
    folder: Path
    interpreter: Interpreter | None
    wheels: Path
    requirements: list[str]

    @property
    def history(self) -> Path:
        return self.folder / "testbed"


def _gather(
    wanted: Preparation, interpreter: Interpreter | None, folder: Path, report: Callable[[str], None]
) -> _Materials:
    requirements = _requirements(wanted, interpreter)
    materials = _Materials(folder, interpreter, wanted.wheels or folder / "wheels", requirements)
    commits = clone_history(wanted.git, wanted.row.base_commit, materials.history)
    report(f"history: {commits} commits, the last is {wanted.row.base_commit[:12]}")
    if interpreter and wanted.wheels is None:
        materials.wheels.mkdir()
        collect_wheels(requirements, interpreter, materials.wheels)
        report(f"wheels: {len(list(materials.wheels.glob('*.whl')))}")
        if loose := unpinned(requirements, materials.wheels):
            report(f"  chosen today, pinned nowhere: {' '.join(loose)}")
    return materials


def _requirements(wanted: Preparation, interpreter: Interpreter | None) -> list[str]:
    """What will be installed, pip first: nothing in the image could install it without one."""
    if wanted.wheels:
        tools = supplied_tools(wanted.wheels)
        if wanted.requirements and "pip" not in tools:
            message = f"{wanted.wheels} has no wheel of pip to install the others with: add one."
            raise PreparationError(message, usage=True)
        return complete_requirements(wanted.requirements, tools)
    if interpreter:
        return complete_requirements(wanted.requirements, downloadable_tools(interpreter))
    if wanted.requirements:
        message = "Requirements need --python (wheels are chosen for an interpreter) or --wheels (a folder of them)."
        raise PreparationError(message, usage=True)
    return []


def _fill(
    container: PreparationContainer, wanted: Preparation, materials: _Materials, report: Callable[[str], None]
) -> None:
    container.put_folder(materials.history, REPOSITORY)
    container.put_files(_CONDA_FILES)
    if materials.interpreter:
        _install_interpreter(container, materials.interpreter, materials.folder)
        report(f"interpreter: Python {materials.interpreter.version} from {materials.interpreter.prefix}")
    else:
        container.run(_OWN_PYTHON, "Making the environment")
    container.put_files({f"{ENVIRONMENT}/pip.conf": _PIP_SETTINGS})
    container.run(_CHECK_OUT, "The checkout")
    if materials.requirements:
        container.put_folder(materials.wheels, WHEELS)
        names = shlex.join(materials.requirements)
        container.run(f"python $(echo {WHEELS}/pip-*.whl)/pip install -q {names}", "Installing the requirements")
    commands = install_commands(wanted.row.eval_script) if wanted.install is None else wanted.install
    for command in [*wanted.before_install, *commands]:
        report(f"in the image: {command}")
        container.run(command, f"`{command}`")
    report(container.run(_FINISH, "The last commit").strip().splitlines()[-1])


def _install_interpreter(container: PreparationContainer, interpreter: Interpreter, folder: Path) -> None:
    """Copy it with this machine's libraries, the very ones that it runs on, rather than install packages."""
    archive_interpreter(interpreter, folder / "prefix.tar")
    container.put_tar(folder / "prefix.tar")
    supplied: set[str] = set()
    # A library asks for others only once it is there itself.
    while missing := _missing_libraries(container, interpreter):
        if supplied.issuperset(missing):
            message = f"{interpreter.prefix} does not run in the image: it lacks {', '.join(missing)}."
            raise PreparationError(message)
        archive_libraries(missing, interpreter, folder / "libraries.tar")
        container.put_tar(folder / "libraries.tar")
        container.run("ldconfig", "Registering the interpreter's libraries")
        supplied.update(missing)


def _missing_libraries(container: PreparationContainer, interpreter: Interpreter) -> list[str]:
    modules = f"{ENVIRONMENT}/lib/python{interpreter.version}/lib-dynload/*.so"
    listing = container.run(f"ldd {ENVIRONMENT}/bin/python {modules}", "ldd", directory="/")
    return sorted(set(re.findall(r"^\s*(\S+) => not found", listing, re.MULTILINE)))


_OWN_PYTHON = f"python3 -m venv --system-site-packages --without-pip {ENVIRONMENT}"

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
rm -rf {WHEELS} /root/.cache
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
