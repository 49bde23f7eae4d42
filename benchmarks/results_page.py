"""`RESULTS.md`: one section a benchmark, each with its machine, date and load, so that each can be renewed alone."""

import time
from pathlib import Path

from benchmarks import machine
from benchmarks.measurement import Measurement, table

PATH = Path(__file__).with_name("RESULTS.md")
_HEADING = "\n## "
_INTRODUCTION = """\
# Results

Written by `python -m benchmarks --write`. What each figure means stands in the module of its benchmark. Peers without
a note were measured in the same run.
"""


def write_section(name: str, measurements: list[Measurement], load_before: str, path: Path = PATH) -> None:
    """Replace the section of one benchmark; the others stay as they are."""
    sections = _sections(path)
    sections[name] = _section(measurements, load_before)
    body = "".join(f"{_HEADING}{each}\n{sections[each]}" for each in sorted(sections))
    path.write_text(_INTRODUCTION + body, "utf-8")


def _section(measurements: list[Measurement], load_before: str) -> str:
    date = time.strftime("%d %B %Y, %H:%M")
    return (
        f"\n{date}. {machine.description()}. Load average {load_before} before and {machine.load()} after.\n"
        f"\n{table(measurements)}\n"
    )


def _sections(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    pieces = path.read_text("utf-8").split(_HEADING)[1:]
    return {name: body for name, _, body in (piece.partition("\n") for piece in pieces)}
