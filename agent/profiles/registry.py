"""Finds profiles and presets by name: a person's own before those that come along.

A person's own lie in `$XDG_CONFIG_HOME/unbroken/profiles/*.toml` and `…/presets/*.toml`.
"""

import os
import tomllib
from importlib import resources
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from agent.profiles.preset import Preset
from agent.profiles.profile import Profile

Kind = TypeVar("Kind", Profile, Preset)
AnyCells = TypeVar("AnyCells", bound=BaseModel)
_SUFFIX = ".toml"


class ProfileError(ValueError):
    """There is no such profile, preset or mode, or its file is wrong; the message names the file and the cell."""


def config_directory() -> Path:
    """Where a person's own settings lie, by the XDG convention."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "unbroken"


class Shelf(Generic[Kind]):
    """All profiles, or all presets."""

    def __init__(self, kind: type[Kind], word: str, own: str, built_in: str) -> None:
        self._kind, self._word, self._own, self._built_in = kind, word, own, built_in

    @property
    def own_directory(self) -> Path:
        """Where a person's own lie."""
        return config_directory() / self._own

    def names(self) -> list[str]:
        """Every name that `load` knows."""
        return sorted({*self.own_names(), *(_stem(file.name) for file in self._files())})

    def own_names(self) -> list[str]:
        """Those of a person's own."""
        return sorted(_stem(path.name) for path in self.own_directory.glob(f"*{_SUFFIX}"))

    def load(self, name: str) -> Kind:
        """The one of that name. Raises ProfileError."""
        own = self.own_directory / f"{name}{_SUFFIX}"
        if name in self.own_names():
            return self._checked(name, read_toml(own, self._kind), str(own))
        for file in self._files():
            if _stem(file.name) == name:
                where = f"the built-in {self._word} {name}"
                return self._checked(name, parse_toml(file.read_text("utf-8"), self._kind, where), where)
        message = f"there is no {self._word} {name!r}; there are: {', '.join(self.names())}"
        raise ProfileError(message)

    def _files(self) -> list[Path]:
        folder = Path(str(resources.files("agent").joinpath("profiles", self._built_in)))
        return [path for path in folder.iterdir() if path.suffix == _SUFFIX]

    def _checked(self, name: str, found: Kind, where: str) -> Kind:
        if found.name != name:
            message = f"{where}: name is {found.name!r}, and the file is called {name}{_SUFFIX}"
            raise ProfileError(message)
        return found


def profiles() -> Shelf[Profile]:
    """The profiles."""
    return Shelf(Profile, "profile", "profiles", "models")


def presets() -> Shelf[Preset]:
    """The presets."""
    return Shelf(Preset, "preset", "presets", "presets")


def fitting_profile(served_name: str) -> Profile | None:
    """The profile of the model that is served under this name; None where none fits, or several do."""
    shelf = profiles()
    fitting = [profile for profile in map(shelf.load, shelf.names()) if profile.fits(served_name)]
    return fitting[0] if len(fitting) == 1 else None


def read_toml(path: Path, kind: type[AnyCells]) -> AnyCells:
    """What a file says. Raises ProfileError."""
    try:
        return parse_toml(path.read_text("utf-8"), kind, str(path))
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {error}"
        raise ProfileError(message) from error


def parse_toml(text: str, kind: type[AnyCells], where: str) -> AnyCells:
    """What a text says that came from `where`. Raises ProfileError."""
    try:
        return kind.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        message = f"{where} is no TOML: {error}"
        raise ProfileError(message) from error
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        # A key that nobody knows is why one is missing, more often than not.
        first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
        message = f"{where}: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        raise ProfileError(message) from error


def _stem(name: str) -> str:
    return name.removesuffix(_SUFFIX)
