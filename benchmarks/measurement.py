"""What a benchmark takes and gives: options in, measurements out."""

from dataclasses import dataclass
from typing import Any

CITED = "measured by us in November 2026 on the same kind of machine"
"""Said of every figure of a peer that is not measured anew in this run."""

SIGNIFICANT_DIGITS = 4


class BenchmarkError(Exception):
    """A benchmark could not be carried out; the message says what is missing or went wrong."""


@dataclass(frozen=True)
class Options:
    """How to measure."""

    with_peer: bool = True
    """Whether the peer that installs is measured as well."""
    samples: int = 11
    """How often each command or container is timed; the figure is the median."""


@dataclass(frozen=True)
class Measurement:
    """One row: our figure, what it must be at most, and a peer's figure for the same."""

    name: str
    value: float
    unit: str
    target: float | None = None
    """The largest value that is good enough; None where the figure is only told."""
    peer: str | None = None
    peer_value: float | None = None

    @property
    def ok(self) -> bool | None:
        """Whether the target is met; None without a target."""
        return None if self.target is None else self.value <= self.target

    def beside(self, peer: str, peer_value: float) -> "Measurement":
        """The same figure as a row of its own, beside a peer that is cited."""
        return Measurement(self.name, self.value, self.unit, self.target, f"{peer} ({CITED})", peer_value)

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints of it."""
        return {
            "name": self.name,
            "value": _rounded(self.value),
            "unit": self.unit,
            "target": self.target,
            "ok": self.ok,
            "peer": self.peer,
            "peer_value": None if self.peer_value is None else _rounded(self.peer_value),
        }


def table(measurements: list[Measurement]) -> str:
    """The rows as a Markdown table, which reads well as text too."""
    rows = [["what", "ours", "at most", "ok", "peer", "its figure"], *(_cells(each) for each in measurements)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _cells(measurement: Measurement) -> list[str]:
    verdict = {None: "–", True: "yes", False: "NO"}[measurement.ok]
    return [
        measurement.name,
        _shown(measurement.value, measurement.unit),
        _shown(measurement.target, measurement.unit),
        verdict,
        measurement.peer or "–",
        _shown(measurement.peer_value, measurement.unit),
    ]


def _shown(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{_rounded(value):g} {unit}"


def _rounded(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
