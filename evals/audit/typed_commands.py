"""What the agent `terminus` typed: its turns hold keys for a terminal where those of others hold calls."""

import json
from collections.abc import Iterator

from agent.terminus.reading import read_answer
from results.records.events import ResponseEvent

TOOL = "terminal"
"""What they are called in findings."""


def typed_commands(event: ResponseEvent) -> Iterator[tuple[str, str, str]]:
    """Id, name and arguments of what a turn typed, as if each had been a call."""
    content = event.received.content if event.sent is None else event.sent.get("content")
    reading = read_answer(str(content or ""), cut=event.received.finish_reason == "length")
    for number, command in enumerate(reading.answer.commands if reading.answer else (), start=1):
        arguments = json.dumps({"keystrokes": command.keystrokes}, ensure_ascii=False)
        yield f"typed_{event.step}_{number}", TOOL, arguments
