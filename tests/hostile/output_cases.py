"""Output without end, without lines, without sense."""

import os

from hostile.case import Case

MUCH = 10_000_000_000 if os.environ.get("UNBROKEN_LONG") else 200_000_000
"""Bytes that `yes` prints."""

CASES = [
    Case(
        "yes without end",
        "yes hostile9700",
        exit=None,
        timeout=2,
        says=("killed after 2 seconds", "hostile9700\n", "cut here"),
        gone="yes hostile9700",
    ),
    Case(
        "gigabytes of yes",
        f"yes | head -c {MUCH}; echo; echo the end",
        says=("the end", "cut here", "first"),
        timeout=600,
    ),
    Case(
        "random bytes",
        "head -c 3000000 /dev/urandom; echo; echo the end",
        says=("the end", "cut here"),
    ),
    Case(
        "one line of 20 million characters",
        "head -c 20000000 /dev/zero | tr '\\0' x; echo; echo the end",
        says=("the end", "cut"),
    ),
    Case(
        "progress on one line",
        "for i in $(seq 1 5000); do printf '\\r%s%%' $i; done; printf '\\rdone.    \\n'",
        says=("done.",),
        longest=200,
    ),
    Case(
        "colours, cursor moves and a cleared screen",
        "printf '\\033[2J\\033[H\\033[31mred\\033[0m\\033]0;title\\007 text\\n'",
        says=("red text",),
        never=("\x1b", "title"),
    ),
    Case("zeros", "head -c 200000 /dev/zero; echo; echo the end", says=("the end", "cut")),
    Case(
        "both streams in turns",
        "for i in 1 2 3; do echo o$i; echo e$i >&2; done",
        says=("o1\ne1\no2\ne2\no3\ne3",),
    ),
    Case("a bell and backspaces", "printf 'abc\\b\\b\\b\\a\\n'; echo well", says=("well",), never=("\a", "\b")),
    Case("a program that writes after its output was closed", "exec >&-; echo lost; ls /", exit=(1, 2), says=()),
    Case(
        "a hundred thousand lines on stderr",
        "seq 1 100000 >&2",
        says=("1\n2\n", "cut here", "99999\n100000"),
    ),
    Case(
        "a whole output that can be read again",
        "seq 1 50000",
        says=("cut here",),
        then=(
            "for f in /tmp/outputs/output-*.txt /tmp/unbroken-*/output-*.txt; do "
            'wc -l 2>/dev/null <"$f"; done | grep -x 50000',
            "50000",
        ),
    ),
]
