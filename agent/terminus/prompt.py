"""What the agent says to the model, as data: `prompt.toml`, whose texts stand in the manifest with their hashes."""

import re
from importlib import resources
from pathlib import Path

from pydantic import Field

from agent.profiles.registry import read_toml
from agent.profiles.stated import Cells

_PLACE = re.compile(r"\{(instruction|screen|problems|limit)\}")


class TerminusPrompt(Cells):
    """The texts. `{screen}` and the other places in them are filled all at once: what is put in may have braces."""

    name: str
    version: int = Field(ge=1)
    """Counts up when a text changes."""
    title: str
    sources: tuple[str, ...] = Field(min_length=1)
    """Where its ideas come from."""
    task: str
    """The first message: `{instruction}`, `{screen}`."""
    confirm: str
    """Asks once more when the model says that the task is done: `{screen}`."""
    warned: str
    """`{problems}` of an answer that was carried out all the same: `{screen}`."""
    unreadable: str
    """`{problems}` of one that was not."""
    cut: str
    """The same for one that the output limit broke off: `{limit}`, `{problems}`."""

    @classmethod
    def load(cls) -> "TerminusPrompt":
        """Those that come along."""
        return read_toml(Path(str(resources.files("agent").joinpath("terminus", "prompt.toml"))), cls)

    @property
    def texts(self) -> dict[str, str]:
        """Those behind the first message, by their names."""
        return {name: getattr(self, name) for name in ("confirm", "warned", "unreadable", "cut")}


def filled(text: str, **values: str) -> str:
    """A text with its places filled."""
    return _PLACE.sub(lambda place: values.get(place[1], place.group()), text).strip()
