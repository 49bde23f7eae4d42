"""What would ruin the state of a shell that runs commands itself."""

from hostile.case import Case

LARGE = 3_000_000

CASES = [
    Case("exit", "kept=yes; exit 3", exit=3),
    Case("set -e and a failure", "set -e; false; kept=no", exit=1),
    Case(
        "every strict option",
        'set -euo pipefail; set -x; : "$undefined"',
        exit=(1, 127),
        then=('echo "[${-//[!eux]/}]"', "[]"),
    ),
    Case("exec", "kept=no; exec true"),
    Case("exec that fails", "kept=no; exec /nonexistent", exit=127),
    Case("kill of the shell", "kill $$; sleep 5", exit=143),
    Case("kill -9 of the shell", "kill -9 $$; sleep 0.3", exit=137),
    Case("an unbalanced quote", "echo 'open", exit=2, says=("unexpected EOF",)),
    Case("a heredoc that is never closed", "cat <<END\ntext", says=("text",)),
    Case("a here-string of a megabyte", f"wc -c <<<'{'x' * 1_000_000}'", says=("1000001",)),
    Case("no PATH", "unset PATH; ls", exit=127, then=("PATH=/usr/bin:/bin; ls / | head -n 1", "bin")),
    Case("another separator", "IFS=/; set -f; noglob=/tmp; kept=yes", then=('printf %q "$IFS"', "/")),
    Case(
        "functions in the place of builtins",
        'for name in cd printf exit read eval trap declare; do builtin eval "$name() { echo no; }"; done',
    ),
    Case("builtins that are switched off", "enable -n printf read declare compgen; echo x", says=("x",)),
    Case("traps everywhere", "trap 'echo T' DEBUG ERR EXIT RETURN; false", exit=1, then=("false; true", "")),
    Case(
        "a prompt command",
        "PROMPT_COMMAND='exit 9'; PS1='$(exit 8)'; PS4='$(exit 7)'; set -x",
        then=("echo quiet", "quiet"),
    ),
    Case(
        "a start-up file",
        "export BASH_ENV=/tmp/evil ENV=/tmp/evil; echo 'exit 9' >/tmp/evil",
        then=("echo well", "well"),
    ),
    Case("POSIX mode", "set -o posix; shopt -s extdebug; set -k", then=("shopt -q extdebug || echo gone", "gone")),
    Case("a read-only variable", "readonly once=1; once=2", exit=1, then=("echo $once", "1")),
    Case("a large variable", f"large=$(head -c {LARGE} /dev/zero | tr '\\0' x)", then=("echo ${#large}", str(LARGE))),
    Case(
        "two thousand functions", 'for i in $(seq 1 2000); do eval "f$i() { echo $i; }"; done', then=("f1999", "1999")
    ),
    Case(
        "a directory that is removed",
        "mkdir /tmp/home/sub; cd /tmp/home/sub; rmdir /tmp/home/sub",
        state=None,
        then=("cd /tmp/home; echo back", "back"),
    ),
    Case("a time limit of the shell", "TMOUT=1; sleep 1.5; echo late", says=("late",)),
    Case(
        "a limit on file size",
        "ulimit -f 0; echo x >/tmp/limited",
        exit=(1, 153),
        then=("echo x >/tmp/unlimited; cat /tmp/unlimited", "x"),
    ),
    Case("no more open files", "ulimit -n 3; ls /", exit=(1, 2, 127), then=("ls /usr | head -n 1", "bin")),
    Case("an alias for everything", "alias echo='exit 5' cd=false", then=("builtin echo well", "well")),
]
