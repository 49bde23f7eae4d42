"""Recovery: tool calls that a server left in a model's thinking or text, and turns that are not what they seem."""

from agent.recovery.stranded import Recovery, recover_calls
from agent.recovery.turns import is_empty, looks_cut, split_inline_thinking

__all__ = ["Recovery", "is_empty", "looks_cut", "recover_calls", "split_inline_thinking"]
