"""What a check is, and the three ways in which it may end."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agent.doctor.patient import Patient
from results.records.doctor import CANNOT_TELL, Status


@dataclass(frozen=True)
class Answer:
    """How a check ended."""

    status: Status
    answer: str
    detail: str = ""
    mends: tuple[str, ...] = ()
    """The cells of the dialect's `mends` that help more than the one with the check's own name."""


@dataclass(frozen=True)
class Check:
    """One question about a backend. `examine` raises BackendError for what it did not expect of the server."""

    name: str
    title: str
    examine: Callable[[Patient], Awaitable[Answer]]
    mends: tuple[str, ...] = ()
    """The cells of the dialect's `mends` that are looked at where there is none with the check's own name."""
    on_error: Status = "fail"
    """What an error of the server means."""
    error_mends: bool = False
    """Whether the mends help against an error as well."""


def passed(answer: str, detail: str = "") -> Answer:
    """All is well."""
    return Answer("pass", answer, detail)


def failed(answer: str, detail: str, *mends: str) -> Answer:
    """Something is wrong, which one of the `mends` of the dialect may put right."""
    return Answer("fail", answer, detail, mends)


def unsure(detail: str, answer: str = CANNOT_TELL) -> Answer:
    """It could not be found out."""
    return Answer("cannot_tell", answer, detail)
