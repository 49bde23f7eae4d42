"""Named, ordered sets of tools. The order is part of the prompt, and the name is part of a score's definition."""

from collections.abc import Callable, Sequence
from typing import Any

from tools.bash import Bash
from tools.str_replace_editor import StrReplaceEditor
from tools.tool import Tool

Toolset = Sequence[Tool[Any]]

TOOLSETS: dict[str, Callable[[], Toolset]] = {
    "bash": lambda: (Bash(),),
    "bash+editor": lambda: (Bash(), StrReplaceEditor()),
}
"""By name; each call makes fresh tools, since an editor remembers one agent's edits."""

DEFAULT_TOOLSET = "bash+editor"


def make_toolset(name: str) -> Toolset:
    """Make the tools of a set. Raises ValueError for a name that is none."""
    if name not in TOOLSETS:
        message = f"there is no toolset {name!r}; there are: {', '.join(TOOLSETS)}"
        raise ValueError(message)
    return TOOLSETS[name]()
