"""Makes sure that `agent`, `tools`, `evals`, `runners` and `results` are ours.

The names are generic, and a repository that an agent works on may well have packages of the same names. Run from
inside it, with the folder itself on the path (`PYTHONPATH=.`), Python would import those.
"""

import importlib
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

OWN = ("agent", "tools", "evals", "runners", "results")
_ROOT = str(Path(__file__).resolve().parent.parent)


class _OwnPackageFinder:
    """Finds our top-level packages beside `unbroken`, before anything on the path is asked."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [_ROOT], target) if path is None and name in OWN else None


def put_own_packages_first() -> None:
    """From now on our packages are found first. Raises ImportError when a foreign one has been imported already."""
    for name in OWN:
        loaded = sys.modules.get(name)
        file = getattr(loaded, "__file__", None)
        if loaded is not None and (file is None or not Path(file).resolve().is_relative_to(_ROOT)):
            message = f"a package {name!r} from {file} is loaded already; Unbroken has one of the same name"
            raise ImportError(message)
    if _OwnPackageFinder not in sys.meta_path:
        sys.meta_path.insert(0, _OwnPackageFinder)


def import_own(module: str) -> ModuleType:
    """Import one of our modules, whatever else is on the path. Raises ImportError."""
    put_own_packages_first()
    return importlib.import_module(module)


def forget_python_path() -> None:
    """Take what PYTHONPATH added out of this process's path: a command runs on its own libraries.

    The variable itself stays, for the commands that an agent runs. So does the folder that we were found in.
    """
    if not (variable := os.environ.get("PYTHONPATH")):
        return
    added = {os.path.realpath(entry) for entry in variable.split(os.pathsep)} - {os.path.realpath(_ROOT)}
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) not in added]
