"""How fast is it: seconds to the first token, and tokens a second of reading and of writing."""

from agent.backend import BackendError, BackendUnreachableError
from agent.doctor.check import Answer, passed, unsure
from agent.doctor.filler import words
from agent.doctor.patient import Patient, Reply
from results.records.events import Message

SIZES = {"1k": 1_024, "32k": 32_768}
LONG_SIZES = {"64k": 65_536, "128k": 131_072, "256k": 262_144, "512k": 524_288}
_OUTPUT = 64
_ROOM = 512
_PATIENCE = 60.0
"""Seconds that a measurement may take without `--long`."""
_LEAST_OUTPUT = 8


async def speed(patient: Patient) -> Answer:
    """Figures at each size that the context has room for."""
    measured: list[str] = []
    remarks: list[str] = []
    for name, size in {**SIZES, **(LONG_SIZES if patient.long else {})}.items():
        reason = _too_much(patient, size)
        if reason:
            remarks.append(f"{name.upper()}: {reason}")
            continue
        try:
            measured.append(_figures(patient, name, size, await _measure(patient, size)))
        except BackendUnreachableError:
            raise
        except BackendError as error:
            remarks.append(f"{name.upper()}: {error}")
    detail = "; ".join(remarks)
    return passed("; ".join(measured), detail) if measured else unsure(detail or "nothing was measured")


def _too_much(patient: Patient, size: int) -> str:
    window = patient.description.context_window
    if window is not None and size + _ROOM > window:
        return "does not fit into the context"
    if window is None and size in LONG_SIZES.values():
        return "the served context is not known"
    pace = patient.figures.get("prefill_1k")
    if not patient.long and pace and size / pace > _PATIENCE:
        return f"would take about {size / pace:,.0f} s; --long measures it"
    return ""


async def _measure(patient: Patient, size: int) -> Reply:
    text = words(int((size - 64) / patient.tokens_a_word))
    task: Message = {"role": "user", "content": f"{text}\nThat was long. Count from 1 to 200."}
    return await patient.ask(patient.conversation([task], thinking=False, max_output=_OUTPUT), thinking=False)


def _figures(patient: Patient, name: str, size: int, reply: Reply) -> str:
    """Note the figures, and say them. Without a first token of its own, the whole response stands for it."""
    usage = reply.turn.usage
    first = reply.turn.first_token_seconds or reply.seconds
    said = [f"first token {first:.2f} s"]
    patient.figures[f"ttft_{name}"] = first
    fresh = (usage.prompt_tokens or size) - (usage.cached_tokens or 0)
    if first > 0 and fresh > 0:
        patient.figures[f"prefill_{name}"] = fresh / first
        said.append(f"reads {fresh / first:,.0f}/s")
    rest = reply.seconds - first
    if usage.output_tokens is not None and usage.output_tokens >= _LEAST_OUTPUT and rest > 0:
        patient.figures[f"decode_{name}"] = (usage.output_tokens - 1) / rest
        said.append(f"writes {(usage.output_tokens - 1) / rest:,.0f}/s")
    return f"{name.upper()}: {', '.join(said)}"
