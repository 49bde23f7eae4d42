"""Gemini's thought signatures: opaque text beside a call, without which Gemini 3 answers 400 to the history.

Over the OpenAI protocol it stands in `tool_calls[].extra_content.google.thought_signature`; of parallel calls only
the first has one, and text may have one of its own beside it. History that another model wrote says
`skip_thought_signature_validator` instead (https://ai.google.dev/gemini-api/docs/thought-signatures).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from agent.dialects.behaviours.behaviour import Behaviour

if TYPE_CHECKING:
    from agent.turn import AssistantTurn

CALLS = "signed_calls"
"""In a turn's extras: for each call that streamed in, its `id`, its `index`, and what came with it as `content`."""

TEXT = "signed_text"
"""In a turn's extras: the `extra_content` of the message itself."""

FOREIGN = {"google": {"thought_signature": "skip_thought_signature_validator"}}


class EchoThoughtSignatures(Behaviour):
    """Sends back with each call, and with the text, what came with it."""

    name = "echo_thought_signatures"

    def collect(self, part: Mapping[str, Any], extras: dict[str, Any]) -> None:
        """Keep the `extra_content` of calls, and of the text where it is signed."""
        if _is_signed(part.get("extra_content")):
            extras[TEXT] = part["extra_content"]
        pieces = part.get("tool_calls")
        for piece in cast("list[Any]", pieces) if isinstance(pieces, list) else []:
            if isinstance(piece, dict):
                _keep(cast("dict[str, Any]", piece), extras.setdefault(CALLS, []))

    def send(self, message: dict[str, Any], turn: "AssistantTurn", differences: list[str]) -> None:
        """Put it back. Calls without any signature, as another model writes them, say that they have none."""
        if TEXT in turn.extras:
            message["extra_content"] = turn.extras[TEXT]
        calls: list[dict[str, Any]] = message.get("tool_calls", [])
        contents = _contents([call.id for call in turn.tool_calls], turn.extras.get(CALLS, []))
        for call, content in zip(calls, contents, strict=False):
            if content is not None:
                call["extra_content"] = content
        if calls and not any(_is_signed(call.get("extra_content")) for call in calls):
            calls[0]["extra_content"] = FOREIGN
            differences.append("foreign_signature_added")


def _keep(piece: Mapping[str, Any], seen: list[dict[str, Any]]) -> None:
    index, call_id, content = piece.get("index"), piece.get("id"), piece.get("extra_content")
    # Every parallel call may stream in under the index 0, so that an id of its own begins a call.
    begun = [call for call in seen if call["index"] == index and (not call_id or call["id"] in ("", call_id))]
    if not begun or (index is None and not call_id):
        seen.append({"id": call_id or "", "index": index, "content": None})
        begun = seen
    call = begun[-1]
    call["id"] = call["id"] or call_id or ""
    if isinstance(content, dict):
        call["content"] = content


def _contents(ids: Sequence[str], seen: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What came with each call: found by its id, or by its place where ids are missing or repeat."""
    by_id = {call["id"]: call["content"] for call in seen}
    if len(by_id) == len(seen) and all(call_id and call_id in by_id for call_id in ids):
        return [by_id[call_id] for call_id in ids]
    return [call["content"] for call in seen]


def _is_signed(content: object) -> bool:
    google = cast("Mapping[str, Any]", content).get("google") if isinstance(content, Mapping) else None
    return isinstance(google, Mapping) and bool(cast("Mapping[str, Any]", google).get("thought_signature"))
