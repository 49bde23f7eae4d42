"""Renders the requests of a conversation one after the other, and checks that each prompt continues the one before.

What a server has in its cache behind a response is the prompt and what it generated. If the next prompt begins with
all of that, nothing is computed twice; where it does not, everything behind the difference is (and on a model with
recurrent layers, which cannot go back to an arbitrary place, often everything).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.prefix.causes import Finding, Place, client_change, message_change, template_change
from agent.prefix.exchanges import Bodies, Exchange, Recorded
from agent.prefix.generation import Piece, TurnForm
from agent.prefix.parts import Habits, Parts, message_parts, received_parts
from agent.prefix.renderers import REASONING_NAMES, Message, Renderer, RendererError
from agent.prefix.report import Divergence, PrefixReport
from results.visible_text import one_line

_MARK = "qzMarkzq"
_EXCERPT_BEFORE = 24
_EXCERPT_AFTER = 56


async def audit(recorded: Recorded, renderer: Renderer) -> PrefixReport:
    """Check every request of a trajectory. Raises RendererError, which names the step."""
    return await audit_exchanges(recorded.exchanges, renderer, recorded.bodies, recorded.skipped)


async def audit_exchanges(
    exchanges: Sequence[Exchange], renderer: Renderer, bodies: Bodies | None = None, skipped: int = 0
) -> PrefixReport:
    """Check requests, however they were recorded. Raises RendererError, which names the step."""
    turns = [received_parts(each.received) for each in exchanges if each.received is not None]
    auditor = _Auditor(renderer, TurnForm(renderer, Habits.of(turns)))
    for exchange in exchanges:
        try:
            await auditor.take(exchange)
        except RendererError as error:
            message = f"step {exchange.step}: {error}"
            raise RendererError(message) from error
    thinking_turns, thinking_shown = auditor.thinking()
    return PrefixReport(
        renderer=renderer.name,
        requests=len(exchanges),
        checked=auditor.checked,
        segments=len({each.segment for each in exchanges}),
        skipped=skipped,
        thinking_turns=thinking_turns,
        thinking_shown=thinking_shown,
        divergences=auditor.divergences,
        bodies=bodies or Bodies(status="unknown", detail="the bodies were not recorded"),
    )


@dataclass(frozen=True)
class _Rendered:
    """A request and its prompt."""

    exchange: Exchange
    prompt: str


@dataclass(frozen=True)
class _Break:
    """Where a prompt leaves the one before it, and what came behind that one."""

    before: _Rendered
    after: _Rendered
    expected: str
    position: int
    pieces: list[Piece]
    written: Parts


class _Auditor:
    def __init__(self, renderer: Renderer, form: TurnForm) -> None:
        self._renderer = renderer
        self._form = form
        self._last: _Rendered | None = None
        self.checked = 0
        self.divergences: list[Divergence] = []

    async def take(self, exchange: Exchange) -> None:
        """Check the next request."""
        prompt = await self._render(exchange)
        current = _Rendered(exchange, prompt)
        last, self._last = self._last, current
        if last is not None and last.exchange.segment == exchange.segment:
            self.checked += 1
            if (found := await self._compare(last, current)) is not None:
                self.divergences.append(await self._divergence(found))

    def thinking(self) -> tuple[int, int]:
        """How many turns of the last request had thinking, and how many of these thoughts its prompt shows."""
        if self._last is None:
            return 0, 0
        messages = [each for each in self._last.exchange.messages if each["role"] == "assistant"]
        thoughts = [thought for each in messages if (thought := message_parts(each).reasoning.strip())]
        return len(thoughts), sum(thought in self._last.prompt for thought in thoughts)

    async def _render(self, exchange: Exchange, messages: Sequence[Message] | None = None, **flags: Any) -> str:
        shown = exchange.messages if messages is None else messages
        return await self._renderer.render(shown, exchange.tools, {**exchange.flags, **flags}, open_turn=True)

    async def _compare(self, before: _Rendered, after: _Rendered) -> _Break | None:
        received = before.exchange.received
        written = Parts() if received is None else received_parts(received)
        pieces = [] if received is None else await self._form.generated(before.exchange, written)
        expected = before.prompt + "".join(piece.text for piece in pieces)
        if after.prompt.startswith(expected):
            return None
        return _Break(before, after, expected, common_length(expected, after.prompt), pieces, written)

    async def _divergence(self, found: _Break) -> Divergence:
        index = await self._message_at(found)
        finding = await self._finding(found, index)
        messages = found.after.exchange.messages
        lost = len(found.expected) - found.position
        tokens = found.before.exchange.prompt_tokens
        return Divergence(
            step=found.after.exchange.step,
            message_index=index,
            role="tools" if index is None else messages[index]["role"],
            cause=finding.cause,
            avoidable=finding.avoidable,
            lost_characters=lost,
            lost_tokens=None if tokens is None else round(lost * tokens / len(found.before.prompt)),
            expected=_excerpt(found.expected, found.position),
            found=_excerpt(found.after.prompt, found.position),
        )

    async def _message_at(self, found: _Break) -> int | None:
        """The message in which the difference lies; None where it lies before every message.

        The place of a message in a prompt is where the prompt changes when the message does.
        """
        exchange, prompt = found.after.exchange, found.after.prompt
        turn = len(found.before.exchange.messages)
        if found.position >= len(found.before.prompt) and turn < len(exchange.messages):
            return turn
        low, high = 0, len(exchange.messages)
        while low < high:
            middle = (low + high) // 2
            marked = [*exchange.messages]
            marked[middle] = _marked(marked[middle])
            if common_length(await self._render(exchange, marked), prompt) <= found.position:
                low = middle + 1
            else:
                high = middle
        return low - 1 if low else None

    async def _finding(self, found: _Break, index: int | None) -> Finding:
        before, after = found.before.exchange, found.after.exchange
        old = before.messages[index] if index is not None and index < len(before.messages) else None
        if list(before.tools) != list(after.tools) and (index is None or old == after.messages[index]):
            return Finding("tools_changed", avoidable=True)
        if index is None:
            first = before.messages[0]
            changed = first != after.messages[0]
            return message_change(first, after.messages[0]) if changed else Finding("other", avoidable=True)
        if old is not None and old != after.messages[index]:
            shifted = after.messages[index] in before.messages[index + 1 :]
            return Finding("history_edited", avoidable=True) if shifted else message_change(old, after.messages[index])
        if len(after.messages) < len(before.messages):
            return Finding("history_edited", avoidable=True)
        message = after.messages[index]
        if old is None:
            return await self._finding_in_turn(found, index, message)
        if message["role"] == "assistant":
            return await self._hidden_thinking(found, index, message)
        return Finding("other", avoidable=False)

    async def _finding_in_turn(self, found: _Break, index: int, message: Message) -> Finding:
        """The cause of a difference in the turn that the model has just generated."""
        if message["role"] != "assistant":
            return Finding("history_edited", avoidable=True)
        place, rendered = _place(found)
        if place is None:
            return await self._hidden_thinking(found, index, message)
        change = client_change(found.written, message_parts(message))
        if change is not None and change[0].order <= place.order:
            return change[1]
        hidden = found.written.reasoning.strip() not in found.after.prompt[len(found.before.prompt) :]
        if place.part == "reasoning" and hidden:
            return await self._hidden_thinking(found, index, message)
        return template_change(found.written, place, rendered)

    async def _hidden_thinking(self, found: _Break, index: int, message: Message) -> Finding:
        """Why thinking that was sent is not in the prompt: tried out, by sending it in other ways."""
        after = found.after.exchange
        asked = any(later["role"] == "user" for later in after.messages[index + 1 :])
        if await self._continues(found, message, preserve_thinking=True):
            return Finding("old_thinking_dropped_by_template", avoidable=True)
        named = [_under_every_name(each) for each in after.messages]
        if await self._continues(found, message, named, preserve_thinking=True):
            return Finding("reasoning_dropped", avoidable=True)
        cause = "old_thinking_dropped_by_template" if asked else "reasoning_dropped"
        return Finding(cause, avoidable=False)

    async def _continues(
        self, found: _Break, message: Message, messages: Sequence[Message] | None = None, **flags: Any
    ) -> bool:
        """Whether the later prompt would continue the earlier one, and show the thinking of `message`."""
        earlier, later = found.before.exchange, found.after.exchange
        known = None if messages is None else messages[: len(earlier.messages)]
        before = await self._render(earlier, known, **flags)
        after = await self._render(later, messages, **flags)
        return after.startswith(before) and message_parts(message).reasoning.strip() in after


def common_length(left: str, right: str) -> int:
    """How many characters two texts have in common at their beginning."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _place(found: _Break) -> tuple[Place | None, str]:
    """The part of the turn in which the difference lies, and what stands there now; None: before all parts.

    What the template writes between two parts belongs to the one in front of it as far as it is white space, and then
    to the call that it begins.
    """
    start = len(found.before.prompt)
    if found.position < start:
        return None, ""
    place, begun = _first_place(found.pieces), start
    for number, piece in enumerate(found.pieces):
        end = start + len(piece.text)
        following = found.pieces[number + 1] if number + 1 < len(found.pieces) else None
        if piece.kind != "markup":
            place, begun = _place_of(piece), start
        elif following is not None and following.call_number is not None and found.position < end:
            space = len(piece.text) - len(piece.text.lstrip())
            if found.position > start + space:
                place, begun = Place("call", following.call_number), start
        if found.position < end:
            ending = piece if piece.kind == "markup" else following
            return place, _up_to(found.after.prompt, begun, ending.text if ending else "")
        start = end
    return place, _up_to(found.after.prompt, begun, "")


def _first_place(pieces: Sequence[Piece]) -> Place | None:
    return next((_place_of(piece) for piece in pieces if piece.kind != "markup"), None)


def _place_of(piece: Piece) -> Place:
    match piece.kind:
        case "reasoning":
            return Place("reasoning")
        case "argument":
            return Place("call", piece.call, piece.number)
        case "arguments":
            return Place("call", piece.call)
        case _:
            return Place("content")


def _up_to(text: str, start: int, ending: str) -> str:
    """What stands between a position and the next words of the template."""
    end = text.find(ending.strip(), start) if ending.strip() else -1
    return text[start:end].removesuffix("\n") if end >= 0 else text[start : start + 1000]


def _marked(message: Message) -> Mapping[str, Any]:
    """The message with something in front of all that it says."""
    content = message.get("content")
    marked = {**message, "content": _MARK + content if isinstance(content, str) else _MARK}
    if message["role"] == "assistant":
        marked |= dict.fromkeys(REASONING_NAMES, _MARK)
    return marked


def _under_every_name(message: Message) -> Mapping[str, Any]:
    if message["role"] != "assistant" or not (thinking := message_parts(message).reasoning):
        return message
    return {**message, **dict.fromkeys(REASONING_NAMES, thinking)}


def _excerpt(text: str, position: int) -> str:
    return one_line(repr(text[max(0, position - _EXCERPT_BEFORE) : position + _EXCERPT_AFTER])[1:-1])
