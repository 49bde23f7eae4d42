"""Where pictures go in a request, by what the dialect accepts; and the sentence where they cannot go anywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from agent.backend import Backend
from agent.conversation import sendable
from agent.request import merged
from tools.pictures import Picture

_INTRODUCTION = "The pictures from the results above, in their order."


class PicturesRefusedError(ValueError):
    """The backend cannot be shown pictures; the message says why."""


@dataclass(frozen=True)
class Places:
    """Where one backend takes pictures."""

    user: bool
    tool: bool
    problem: str | None = None
    """Why pictures in a result cannot be shown at all."""


def places_for(backend: Backend) -> Places:
    """Where pictures may stand. A user message after the task is only an option where it costs no thinking."""
    description, dialect = backend.description, backend.dialect
    takes = dialect.images
    if description.vision is False:
        return Places(False, False, f"the model {description.model} takes no pictures, as its server says")
    if not (takes.user or takes.tool):
        return Places(False, False, f"servers of the kind {dialect.name} take no pictures")
    if takes.tool or _keeps_thinking(backend):
        return Places(takes.user, takes.tool)
    problem = (
        f"servers of the kind {dialect.name} take pictures in a user message only, and drop the model's earlier "
        "thinking at each of those"
    )
    return Places(takes.user, takes.tool, problem)


def user_content(text: str, pictures: Sequence[Picture], places: Places) -> str | list[dict[str, Any]]:
    """The content of a person's message with pictures; the text stands first, as some models ask for (DashScope).

    Raises PicturesRefusedError.
    """
    if not pictures:
        return sendable(text)
    if not places.user:
        raise PicturesRefusedError(places.problem or "this kind of server takes pictures in the results of tools only")
    return [_text(text), *map(_part, pictures)]


def result_content(text: str, pictures: Sequence[Picture], places: Places) -> str | list[dict[str, Any]]:
    """The content of a tool's message: with its pictures where they may stand there, or with why they are left out."""
    if not pictures:
        return sendable(text)
    if places.problem:
        return sendable(f"{text}\nThe picture cannot be shown: {places.problem}.")
    return [_text(text), *map(_part, pictures)] if places.tool else sendable(text)


def following_message(pictures: Sequence[Picture], places: Places) -> dict[str, Any] | None:
    """The user message that shows the pictures of a step's results, where they may not stand in the results."""
    if not pictures or places.tool or places.problem:
        return None
    return {"role": "user", "content": [_text(_INTRODUCTION), *map(_part, pictures)]}


def picture_urls(message: Mapping[str, Any]) -> list[str]:
    """The data URLs of the pictures in a message."""
    content = message.get("content")
    if not isinstance(content, list):
        return []
    parts = cast("list[dict[str, Any]]", content)
    return [str(part["image_url"]["url"]) for part in parts if part.get("type") == "image_url"]


def _keeps_thinking(backend: Backend) -> bool:
    """Whether thinking survives a user message, as these requests ask for it."""
    thinking, asked = backend.dialect.thinking, backend.description.sampling
    forgets = bool(thinking.forget) and merged(asked, thinking.forget) == asked
    return thinking.preserves == "always" or (thinking.preserves == "asked" and not forgets)


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": sendable(text)}


def _part(picture: Picture) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": picture.url}}
