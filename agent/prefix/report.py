"""What an audit found: each place where a prompt leaves the one before it, and what that costs."""

from collections.abc import Mapping

from pydantic import BaseModel, computed_field

from agent.prefix.causes import Cause
from agent.prefix.exchanges import Bodies

REMEDIES: Mapping[Cause, tuple[str, str]] = {
    "reasoning_dropped": (
        "send thinking back, under the name that this server reads (reasoning_content, reasoning, or both)",
        "this template shows no earlier thinking: serve the model with its own, current chat template",
    ),
    "reasoning_changed": ("send thinking back byte for byte: no summary, no filter, no proxy that edits it", ""),
    "trimmed_whitespace": ("send text back byte for byte, its white space included", ""),
    "arguments_reordered": (
        "send the arguments string back as it came, never parsed and written anew",
        "the template or the server sorts arguments; nothing a client sends changes that",
    ),
    "array_spacing": (
        "send the arguments string back as it came",
        "the template spaces arrays and objects its own way: use tools with string parameters (editor-strings)",
    ),
    "python_boolean": (
        "send the arguments string back as it came",
        "the template and the model spell true and false differently: use tools with string parameters, or the "
        "model's own chat template",
    ),
    "number_rewritten": (
        "send the arguments string back as it came",
        "the server spells numbers anew: use tools with string parameters, or plain integers",
    ),
    "string_newline_stripped": (
        "send string arguments back with their line ends",
        "the template strips line ends off strings: serve the model with its own, current chat template",
    ),
    "arguments_unreadable": ("", "the model wrote arguments that no server takes back; only that turn is lost"),
    "call_moved_out_of_thinking": (
        "",
        "the model wrote a call within its thinking; carrying it out costs the cache of that turn",
    ),
    "call_moved_out_of_content": (
        "",
        "the server's parser left a call in the text: choose the parser that fits the model",
    ),
    "system_changed": ("keep the system message as it is: no clock, no folder listing, no count of tokens", ""),
    "tools_changed": ("keep the tools as they are, in their order and word for word, until the conversation ends", ""),
    "history_edited": ("append only: never edit, shorten or leave out what was sent", ""),
    "old_thinking_dropped_by_template": (
        "send preserve_thinking: true to the template, or no further user message",
        "this template drops thinking at each user message whatever is asked: send no further user message",
    ),
    "template_trims": ("", "the model wrote white space that the template trims; it costs the end of that turn"),
    "other": ("compare the two excerpts: what was sent before renders differently now", "compare the two excerpts"),
}
"""For each cause what to do: where a client can avoid it, and where not."""


class Divergence(BaseModel):
    """A request whose prompt does not begin with the prompt before it and what the model generated for that."""

    step: int
    """The step whose prompt misses the cache."""
    message_index: int | None
    """The first message in which it differs, counted from 0 as in the request; None: before the first, in the tools."""
    role: str
    cause: Cause
    avoidable: bool
    """Whether a client can avoid it."""
    lost_characters: int
    """How much of what the server had already read or written lies behind the difference."""
    lost_tokens: int | None
    """The same in tokens, estimated from the server's own count of that prompt; None where it did not count."""
    expected: str
    """What the model read or wrote there: an excerpt that begins a little before the difference."""
    found: str
    """What the next prompt has instead."""

    @computed_field
    @property
    def remedy(self) -> str:
        """What to do about it."""
        return remedy(self.cause, avoidable=self.avoidable)


class CauseTotal(BaseModel):
    """All divergences of one cause."""

    cause: Cause
    avoidable: bool
    times: int
    lost_characters: int
    lost_tokens: int | None


class PrefixReport(BaseModel):
    """The whole finding."""

    renderer: str
    """What showed the prompts."""
    requests: int
    checked: int
    """How many of them follow another in the same segment."""
    segments: int
    skipped: int = 0
    """Requests that stand apart, for a summary, and could not be rebuilt."""
    thinking_turns: int
    """How many turns before the last request had thinking."""
    thinking_shown: int
    """How much of that the model still reads in the last prompt."""
    divergences: list[Divergence]
    bodies: Bodies

    @computed_field
    @property
    def totals(self) -> list[CauseTotal]:
        """By cause, the dearest first."""
        groups: dict[tuple[Cause, bool], list[Divergence]] = {}
        for each in self.divergences:
            groups.setdefault((each.cause, each.avoidable), []).append(each)
        totals = [_total(cause, avoidable, group) for (cause, avoidable), group in groups.items()]
        return sorted(totals, key=lambda total: -total.lost_characters)

    @property
    def avoidable(self) -> list[Divergence]:
        """What a client could have avoided."""
        return [each for each in self.divergences if each.avoidable]


def remedy(cause: Cause, *, avoidable: bool) -> str:
    """What to do about a cause."""
    by_client, else_ = REMEDIES[cause]
    return (by_client or else_) if avoidable else (else_ or by_client)


def _total(cause: Cause, avoidable: bool, group: list[Divergence]) -> CauseTotal:
    tokens = [each.lost_tokens for each in group]
    known = [count for count in tokens if count is not None]
    return CauseTotal(
        cause=cause,
        avoidable=avoidable,
        times=len(group),
        lost_characters=sum(each.lost_characters for each in group),
        lost_tokens=sum(known) if len(known) == len(tokens) else None,
    )
