"""Commands that use up what there is."""

from hostile.case import Case

EVERYTHING = frozenset({"shell", "exec", "read", "write"})
"""Nothing can be started while somebody else takes every process."""
_SMALL = {"processes": 150, "memory": "256m"}
_HOG = "python3 -c 'x = bytearray(2_000_000_000); print(len(x))'"

CASES = [
    Case(
        "a fork bomb",
        "bomb() { bomb | bomb & }; bomb; sleep 20",
        exit=(None, 0, 1, 254),
        timeout=3,
        destructive=True,
        limits=_SMALL,
    ),
    Case(
        "a fork bomb in the background",
        ":(){ :|:& };: & sleep 1; echo over",
        exit=(None, 0, 1, 254),
        timeout=5,
        destructive=True,
        limits=_SMALL,
        broken=EVERYTHING,
    ),
    Case("more memory than there is", _HOG, exit=(1, 137), destructive=True, limits=_SMALL),
    Case(
        "memory of the shell itself",
        "x=x; while :; do x=$x$x; done",
        exit=(1, 2, 137, None),
        timeout=20,
        destructive=True,
        limits=_SMALL,
    ),
    Case(
        "a full disk",
        "dd if=/dev/zero of=/dev/shm/big bs=1M; rm /dev/shm/big; echo over",
        says=("No space left", "over"),
        destructive=True,
        limits={"shm": "16m"},
    ),
    Case(
        "the memory file system is full",
        "head -c 1G /dev/zero >/dev/shm/big; echo over",
        says=("over",),
        state=None,
        destructive=True,
        limits={"shm": "16m"},
        then=("rm /dev/shm/big; cd /; pwd", "/"),
    ),
    Case("thousands of files", "mkdir many; cd many; seq 1 20000 | xargs touch; cd ..; rm -r many"),
    Case(
        "thousands of processes, one after the other",
        "for i in $(seq 1 2000); do (:) ; done; echo over",
        says=("over",),
    ),
    Case("every processor", "for i in 1 2 3 4; do (while :; do :; done) & done; wait", exit=None, timeout=2),
    Case(
        "as many open files as there can be",
        'for i in $(seq 10 2000); do eval "exec $i</dev/null" || break; done 2>/dev/null; echo over',
        exit=(0, 1),
    ),
    Case("a deep recursion", "f() { f; }; f", exit=(139, 137, 1, None), timeout=20, destructive=True, limits=_SMALL),
    Case(
        "zombies",
        "python3 -c 'import os\nfor i in range(500):\n  if os.fork()==0: os._exit(0)\nprint(\"made\")'",
        says=("made",),
    ),
]
