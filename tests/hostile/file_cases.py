"""What a command does to the file system on which the harness works."""

from hostile.case import Case

EVERYTHING = frozenset({"shell", "exec", "read", "write"})

CASES = [
    Case(
        "rm -rf /",
        "rm -rf --no-preserve-root / 2>/dev/null; builtin echo survived",
        exit=(0, 1, 127),
        says=("survived",),
        destructive=True,
        broken=EVERYTHING,
        state=None,
    ),
    Case(
        "no bash and no sh",
        "rm -f /bin/bash /bin/sh /usr/bin/bash /usr/bin/sh /bin/dash /usr/bin/dash; builtin echo over",
        says=("over",),
        destructive=True,
        broken=frozenset({"exec", "read", "write"}),
    ),
    Case(
        "no working directory",
        "rm -rf /tmp/home; echo over",
        says=("over",),
        state=None,
        then=("mkdir -p /tmp/home; cd /tmp/home; pwd", "/tmp/home"),
    ),
    Case(
        "a directory that nobody may enter",
        "mkdir shut; cd shut; chmod 0 .; echo over",
        says=("over",),
        state="yes /tmp/home/shut",
    ),
    Case(
        "no temporary folder",
        "rm -rf /tmp/* /var/tmp/*; echo over",
        says=("over",),
        state=None,
        destructive=True,
        then=("seq 1 30000 | tail -n 1", "30000"),
    ),
    Case("/dev/null is a file", "rm /dev/null; echo >/dev/null; echo over", says=("over",), destructive=True),
    Case("names that are options", "touch -- -rf --help '-n x'; ls | wc -l; rm -f -- -rf --help '-n x'", says=("3",)),
    Case("a name with a line break", "touch $'a\\nb'; ls -b; rm $'a\\nb'", says=("a\\nb",)),
    Case("a loop of links", "ln -s loop loop; cat loop; rm loop", says=("Too many levels",)),
    Case("a pipe in the place of a file", "mkfifo pipe; rm pipe; echo over", says=("over",)),
    Case(
        "everything is read-only",
        "chmod -R a-w /tmp/home /var/tmp; chmod u+w /tmp/home /var/tmp; echo over",
        says=("over",),
        destructive=True,
    ),
    Case("another root", "chroot / /bin/echo inside || unshare -r true || echo refused", exit=(0, 1), destructive=True),
]
