"""Which token counts the server reports."""

from agent.doctor.check import Answer, failed, passed
from agent.doctor.patient import Patient

_NAMES = {
    "prompt": "prompt_tokens",
    "output": "output_tokens",
    "cached": "cached_tokens",
    "reasoning": "reasoning_tokens",
}


async def usage(patient: Patient) -> Answer:
    """What was reported so far; one request where there was none."""
    if not patient.replies:
        await patient.ask(patient.conversation([{"role": "user", "content": "Say hello."}], max_output=16))
    usages = [reply.turn.usage for reply in patient.replies]
    reported = [name for name, field in _NAMES.items() if any(getattr(one, field) is not None for one in usages)]
    missing = [name for name in _NAMES if name not in reported]
    answer = ", ".join(reported) or "nothing"
    absent = f"not reported: {', '.join(missing)}" if missing else ""
    if "prompt" not in reported or "output" not in reported:
        return failed(answer, f"{absent}; limits on tokens and on cost cannot be kept")
    silent = sum(one.prompt_tokens is None for one in usages)
    if silent:
        return failed(answer, f"{silent} of {len(usages)} responses came without counts")
    return passed(answer, absent)
