"""Whether it answers, and what it is."""

from agent.doctor.check import Answer, passed, unsure
from agent.doctor.patient import Patient

LEAST_CONTEXT = 32_768
"""Tokens. A prompt of an agent, its tools' results and one long response need as much."""

GOOD_CONTEXT = 131_072
"""Tokens: "we advise maintaining a context length of at least 128K tokens to preserve thinking capabilities" (the
model card of Qwen3.6-35B-A3B)."""


async def reach(patient: Patient) -> Answer:
    """A first request, which also makes a server load its model, so that no later figure includes that."""
    greeting = {"role": "user", "content": "Say hello."}
    await patient.ask(patient.conversation([greeting], thinking=False, max_output=16), thinking=False)
    return passed(patient.description.model, _particulars(patient))


async def context(patient: Patient) -> Answer:
    """The served context window against what an agent needs."""
    window = patient.description.context_window
    if window is None:
        return unsure("nobody says how long the served context is: state it with --context")
    if window < LEAST_CONTEXT:
        return Answer("fail", f"{window:,} tokens", f"an agent needs {LEAST_CONTEXT:,} tokens at least")
    if window < GOOD_CONTEXT:
        note = f"it will do; Qwen's cards advise {GOOD_CONTEXT:,} tokens or more, so that there is room for thinking"
        return passed(f"{window:,} tokens", note)
    return passed(f"{window:,} tokens")


def _particulars(patient: Patient) -> str:
    seen = patient.description
    known = {
        "dialect": seen.dialect,
        "server": seen.server,
        "weights": seen.weights,
        "quantisation": seen.quantisation,
        "KV cache": seen.kv_cache,
        "speculative decoding": seen.speculative,
    }
    said = [f"{name} {value}" for name, value in known.items() if value is not None]
    unknown = [name for name, value in known.items() if value is None]
    return "; ".join([*said, *([f"unknown: {', '.join(unknown)}"] if unknown else [])])
