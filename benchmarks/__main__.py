"""`python -m benchmarks`: lists the benchmarks, or runs one or all of them.

Exit: 0 when everything was measured, whether targets were met or not; 1 when something could not be; 2 for bad usage.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from typing import cast

from benchmarks import machine, results_page
from benchmarks.measurement import BenchmarkError, Measurement, Options, table

BENCHMARKS = {
    "startup": "how long --help takes",
    "step": "overhead of a step in Docker, early and late, and memory (with the peer: some 3 minutes)",
    "wire": "what a client computes for a request, early and late in a conversation",
    "shell": "a command, files and edits in a container, and how soon it is ready",
    "soak": "ten thousand commands in one container",
    "grading": "the verdicts on patches, beside swebench's own command (some 3 minutes)",
    "trial": "container teardown, and that no trial waits for it",
    "schedule": "what a trial costs in which nothing is done, and how soon a run goes on that was broken off",
    "oracle": "trials of Terminal-Bench by a task's own solution, beside plain docker (some 2 minutes)",
}
ALL = "all"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = _parser().parse_args(arguments)
    if options.name is None and not options.write:
        width = max(map(len, BENCHMARKS))
        print("\n".join(f"{name:{width}}  {about}" for name, about in BENCHMARKS.items()))
        return 0
    names = list(BENCHMARKS) if options.name in (None, ALL) else [options.name]
    measuring = Options(with_peer=options.peer, samples=options.samples)
    try:
        measurements = [each for name in names for each in _run(name, measuring, write=options.write)]
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps([each.as_json() for each in measurements], indent=2, ensure_ascii=False))
    else:
        print(table(measurements))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the harness beside its peers.")
    parser.add_argument("name", nargs="?", choices=[*BENCHMARKS, ALL], metavar="NAME", help="one of them, or all")
    parser.add_argument("--json", action="store_true", help="print a list of measurements as JSON")
    parser.add_argument("--write", action="store_true", help=f"also put the figures into {results_page.PATH.name}")
    parser.add_argument(
        "--peer", action=argparse.BooleanOptionalAction, default=True, help="measure mini-swe-agent as well"
    )
    parser.add_argument("--samples", type=_count, default=Options.samples, help="how often each thing is timed")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _run(name: str, options: Options, *, write: bool) -> list[Measurement]:
    run = cast("Callable[[Options], list[Measurement]]", importlib.import_module(f"benchmarks.{name}").run)
    load_before = machine.load()
    measurements = run(options)
    print(f"{name}: load average {load_before} before, {machine.load()} after", file=sys.stderr)
    if write:
        results_page.write_section(name, measurements, load_before)
    return measurements


if __name__ == "__main__":
    sys.exit(main())
