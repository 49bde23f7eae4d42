"""The command line."""

import argparse
import sys
from pathlib import Path

from tally.counting import SMALL_WORDS, count_words


def main(argv=None):
    """Run the command; return its exit code."""
    options = parse_options(argv)
    try:
        text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text(encoding="utf-8")
    except OSError as error:
        print(f"tally: {options.file}: {error.strerror}", file=sys.stderr)
        return 1
    counts = count_words(text, ignore=options.ignore, case=options.case)
    for word, count in counts.most_common(options.top or None):
        print(f"{count:5} {word}")
    return 0


def parse_options(argv=None):
    """Read the command line, or the list of arguments given."""
    parser = argparse.ArgumentParser(prog="tally", description="Count the words of a text.")
    parser.add_argument("file", nargs="?", default="-", help="the text; - or nothing: standard input")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="show the N most frequent words; 0 shows all")
    parser.add_argument(
        "--ignore",
        nargs=1,
        default=SMALL_WORDS,
        metavar="WORD",
        help="leave this word out, instead of the usual ones; may be repeated",
    )
    parser.add_argument("--case", action="store_true", help="tell upper from lower case")
    return parser.parse_args(argv)
