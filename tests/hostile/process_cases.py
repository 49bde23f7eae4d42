"""Processes that do not want to end."""

import os

from hostile.case import Case

# What is looked for by name on this machine, whose containers' processes are seen too, is of these tests alone.
_OURS = os.getpid()
_DAEMON = (
    "python3 -c 'import os,time\nif os.fork()==0:\n os.setsid()\n if os.fork()==0:\n  time.sleep(9711)\n os._exit(0)'"
)
_ENVIRONMENT_GONE = "env -i setsid sh -c 'sleep 9712 & exit' &"

CASES = [
    Case("a sleep", "echo begun; sleep 9701", exit=None, timeout=1, says=("begun",), gone="sleep 9701"),
    Case("a pipeline", "sleep 9702 | cat | sleep 9702", exit=None, timeout=1, gone="sleep 9702"),
    Case("children in the background", "sleep 9703 & sleep 9703 & wait", exit=None, timeout=1, gone="sleep 9703"),
    Case("a session of its own", "setsid sleep 9704 & sleep 9704", exit=None, timeout=1, gone="sleep 9704"),
    Case(
        "deaf to signals",
        "trap '' TERM INT HUP QUIT; (trap '' TERM; while :; do sleep 9705; done)",
        exit=None,
        timeout=1,
        gone="sleep 9705",
    ),
    Case("disowned", "nohup sleep 9706 >/dev/null 2>&1 & disown; sleep 9706", exit=None, timeout=1, gone="sleep 9706"),
    Case("stopped", "sleep 9707 & kill -STOP $!; wait; sleep 9707", exit=None, timeout=1, gone="sleep 9707"),
    Case("a daemon", f"{_DAEMON}; sleep 9708", exit=None, timeout=1, gone="9711"),
    Case("a daemon without an environment", f"{_ENVIRONMENT_GONE} sleep 9709", exit=None, timeout=1, gone="9712"),
    Case(
        "a chain of processes that each start the next",
        f"f() {{ sleep 0.0511{_OURS}; ( f & ) ; }}; f & sleep 9710",
        exit=None,
        timeout=1,
        gone="sleep 9710",
        then=(f"sleep 0.3; pgrep -fc 'sleep 0.051[1]{_OURS}' || true", "0"),
    ),
    Case("a busy loop of the shell", "while :; do :; done", exit=None, timeout=1),
    Case("a busy loop in a trap", "trap 'while :; do :; done' EXIT; exit", exit=None, timeout=1),
    Case(
        "a server that shall stay",
        f"(sleep 9713.{_OURS} >/dev/null 2>&1 &); echo started",
        says=("started",),
        then=(f"pgrep -fc 'sleep 971[3].{_OURS}'; pkill -f 'sleep 971[3].{_OURS}'", "1"),
    ),
    Case(
        "a background process that holds the output",
        f"sleep 9714.{_OURS} & echo over",
        says=("over",),
        then=(f"pkill -f 'sleep 971[4].{_OURS}'; echo next", "next"),
    ),
    Case(
        "every process there is",
        "kill -9 -1; echo not reached",
        exit=(137, 0),
        destructive=True,
        ends_local_harness=True,
    ),
]
