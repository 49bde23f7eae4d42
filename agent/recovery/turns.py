"""What a turn really is, where the server's word for it cannot be taken."""

from dataclasses import replace

from agent.recovery.quotation import Unquoted, outside_code
from agent.turn import IN_CONTENT, AssistantTurn

_OPENING = "<think>"
_CLOSING = "</think>"
_LONE_CLOSING = outside_code(rf"(?P<closing>(?:^{_CLOSING})|{_CLOSING}$)")


def looks_cut(turn: AssistantTurn, output_limit: int | None) -> bool:
    """Whether the output limit, in tokens, broke the turn off.

    vLLM without streaming calls a cut turn `tool_calls`, its arguments `{}`: only the count gives it away.
    """
    written = turn.answer_usage.output_tokens
    return turn.is_cut or (output_limit is not None and written is not None and written >= output_limit)


def is_empty(turn: AssistantTurn) -> bool:
    """Whether there is nothing to see: no text and no call, as when llama.cpp swallows a call that it cannot parse."""
    return not turn.tool_calls and not (turn.content or "").strip()


def split_inline_thinking(turn: AssistantTurn) -> tuple[AssistantTurn, bool]:
    r"""Move thinking that stands at the start of the content to where it belongs; says whether there was any.

    Only for a turn without thinking of its own: `reasoning_field` is then `content`. What is taken away is what a
    template puts around it, so that `<think>\n{reasoning}\n</think>\n\n{content}` is what was generated. The opening
    tag may be missing, since it is part of the prompt; the closing one must then begin or end a line outside of code.
    Where the closing tag is missing, all is thinking if the turn was cut or goes on with calls.
    """
    content = turn.content or ""
    if turn.reasoning or (_CLOSING not in content and _OPENING not in content):
        return turn, False
    stripped = content.lstrip()
    if stripped.startswith(_OPENING):
        inner = stripped.removeprefix(_OPENING).removeprefix("\n")
        reasoning, closing, rest = inner.partition(_CLOSING)
        if not closing and not (turn.is_cut or turn.tool_calls):
            return turn, False
    else:
        mark = None if turn.reasoning is not None else Unquoted(_LONE_CLOSING, content).search(0)
        if mark is None:
            return turn, False
        reasoning, closing, rest = content[: mark.start()], _CLOSING, content[mark.end() :]
    if closing:
        reasoning = reasoning.removesuffix("\n")
        rest = rest.removeprefix("\n").removeprefix("\n")
    return replace(turn, reasoning=reasoning, reasoning_field=IN_CONTENT, content=rest), True
