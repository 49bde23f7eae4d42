"""What the tests of the doctor share: a conformance server is examined as the product would, found out by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from conformance.behaviour import ServerBehaviour
from conformance.faults import ActiveFault, Fault
from conformance.responder import Reply
from conformance.server import ConformanceServer, conformance_server

from agent.backends import BackendOptions, open_backend
from agent.doctor.examination import CHECK_NAMES, examine
from results.records.doctor import DoctorReport, Finding

WINDOW = 40_000
SILENT = [Reply("Hm.", "I do not know.")] * 8
"""A model that never repeats what it thought, so that the tokens have to speak."""


@dataclass(frozen=True)
class Examined:
    """A report, and the server that it is about."""

    report: DoctorReport
    server: ConformanceServer

    def __getitem__(self, check: str) -> Finding:
        finding = self.report.finding(check)
        assert finding is not None
        return finding

    def answers(self, *checks: str) -> tuple[str, ...]:
        return tuple(self[check].answer for check in checks)

    @property
    def not_passed(self) -> dict[str, str]:
        return {one.check: one.answer for one in self.report.findings if one.status != "pass"}


async def examined(
    family: str | ServerBehaviour,
    *faults: Fault | ActiveFault,
    only: Sequence[str] = CHECK_NAMES,
    script: Sequence[Reply] = (),
    thinking: bool = True,
    window: int | None = WINDOW,
    vision: bool | None = True,
    long: bool = False,
) -> Examined:
    """Examine a server of that family; `window` is what is said of it as well."""
    with conformance_server(family, faults=faults, window=window, vision=vision, script=script) as server:
        name = server.behaviour.family
        options = BackendOptions(
            model=server.behaviour.model, dialect=name, thinking=thinking, context_window=window, retries=0
        )
        async with open_backend(server.url, options) as backend:
            return Examined(await examine(backend, only=only, long=long), server)
