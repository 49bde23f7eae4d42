"""The checks, in the order in which they are made."""

from agent.doctor.check import Check
from agent.doctor.checks.cache import cache
from agent.doctor.checks.images import images
from agent.doctor.checks.memory import tool_turns, user_message
from agent.doctor.checks.output_cap import output_cap
from agent.doctor.checks.overflow import overflow
from agent.doctor.checks.parallel_calls import parallel_calls
from agent.doctor.checks.reach import context, reach
from agent.doctor.checks.speed import speed
from agent.doctor.checks.thinking import thinking_off, thinking_on
from agent.doctor.checks.tool_call import tool_call, tool_call_whole
from agent.doctor.checks.usage import usage
from results.records.doctor import TOOL_TURNS, USER_MESSAGE

CHECKS = (
    Check("reach", "answers", reach),
    Check("context", "served context", context),
    Check("tool_call", "tool call, streamed", tool_call, mends=("tools",), error_mends=True),
    Check(
        "tool_call_whole", "tool call, not streamed", tool_call_whole, mends=("tool_call", "tools"), error_mends=True
    ),
    Check("thinking_on", "thinking on", thinking_on, mends=("reasoning",)),
    Check("thinking_off", "thinking off", thinking_off),
    Check(TOOL_TURNS, "thinking across tool turns", tool_turns, on_error="cannot_tell"),
    Check(USER_MESSAGE, "thinking across a user message", user_message, on_error="cannot_tell"),
    Check("cache", "prefix cache", cache),
    Check("parallel_calls", "parallel calls", parallel_calls, mends=("tool_call",), on_error="cannot_tell"),
    Check("images", "images", images, on_error="cannot_tell"),
    Check("output_cap", "output limit", output_cap),
    Check("speed", "speed", speed, on_error="cannot_tell"),
    Check("overflow", "overflow", overflow),
    Check("usage", "token counts", usage),
)
"""Overflow comes after speed, which tells how long it may take; the counts come last, from all that was asked."""
