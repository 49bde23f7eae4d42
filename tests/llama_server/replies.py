"""What a scripted model says: replies, and each as the text that a Qwen3.6 would generate for it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

CALL = "<tool_call>"


@dataclass(frozen=True)
class Call:
    """A tool call."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def text(self) -> str:
        """The call as the model writes it: strings raw, other values as JSON."""
        values = {
            name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for name, value in self.arguments.items()
        }
        parameters = (f"<parameter={name}>\n{value}\n</parameter>\n" for name, value in values.items())
        return f"{CALL}\n<function={self.name}>\n{''.join(parameters)}</function>\n</tool_call>"


class Texts(NamedTuple):
    """A reply in three parts: between `<think>` and its end, behind that, and behind the first `<tool_call>`."""

    thought: str
    spoken: str
    called: str


@dataclass(frozen=True)
class Reply:
    """One response. Without anything in it, it is an empty turn.

    Replies are played in order. One with a `cue` begins another conversation: it is played once its cue stands in
    the prompt, and never for being the next one.
    """

    reasoning: str = ""
    content: str = ""
    calls: tuple[Call, ...] = ()
    raw: str | None = None
    """Literal text in place of content and calls: a malformed call, say. No grammar watches over it."""
    cue: str | None = None
    forgetful: "Reply | None" = None
    """What is said instead when the prompt does not hold the thinking of the reply before."""

    @property
    def texts(self) -> Texts:
        """The texts of its parts, as generated."""
        calls = "\n".join(call.text for call in self.calls)
        if self.raw is not None:
            return Texts(self.reasoning, self.raw, "")
        spoken = f"{self.content}\n\n" if self.content and calls else self.content
        return Texts(self.reasoning, spoken, calls.removeprefix(CALL))
