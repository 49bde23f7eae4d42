"""Programs that wait for a person."""

from hostile.case import Case

CASES = [
    Case("cat", "cat; echo over", says=("over",)),
    Case("read", 'read answer; echo "[$answer] $?"', says=("[] 1",)),
    Case("a question of Python", "python3 -c 'input(\"Sure? \")'", exit=1, says=("EOFError",)),
    Case("Python without a program", "python3; echo over", says=("over",)),
    Case("a shell in the shell", "bash; sh; echo over", says=("over",)),
    Case("an interactive shell", "bash --norc -i; echo over", says=("over",)),
    Case("the terminal itself", "read answer </dev/tty; echo over", says=("over",)),
    Case("a password", "python3 -c 'import getpass; getpass.getpass()' </dev/null", exit=1),
    Case(
        "git that wants an editor",
        "git init -q r; cd r; git -c user.name=a -c user.email=a@b commit --allow-empty; cd ..; rm -rf r",
    ),
    Case(
        "a pager",
        "git init -q r; git -C r log; git --paginate help -a | head -n 3; rm -rf r; echo over",
        says=("over",),
    ),
    Case("input by name", "cat /dev/stdin; cat /proc/self/fd/0; echo over", says=("over",)),
    Case("input that was closed", "exec 0<&-; cat; echo over", says=("over",)),
    Case("a new session that asks", "setsid -w python3 -c 'open(\"/dev/tty\")'", exit=1, says=("No such device",)),
]
