"""The shell of images that have no bash, in the two that they have instead."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from shell_desk import Desk, open_desk

from runners.shell import KILLED, NOT_BEGUN, NOT_SAVED, PLAIN_SHELL, STATE_LOST, PersistentShell

PROGRAMS = "cat chmod env grep head kill ln ls mkdir mkfifo od rm sed seq sleep tail timeout touch tr wc yes"


@pytest.fixture(params=["dash", "busybox"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Desk, PersistentShell]]:
    program = shutil.which(str(request.param))  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
    if program is None:
        pytest.skip(f"{request.param} is not installed")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sh").symlink_to(program)
    for name in PROGRAMS.split():
        (programs / name).symlink_to(shutil.which(name) or program)
    async with open_desk({"PATH": str(programs), "GIVEN": "given", "HOME": str(tmp_path)}) as opened:
        yield opened


Opened = tuple[Desk, PersistentShell]


async def printed(shell: PersistentShell, command: str, timeout: float = 20) -> str:
    return (await shell.run(command, timeout)).output.decode("utf-8", "backslashreplace")


async def test_what_does_not_stay_is_said_once(opened: Opened) -> None:
    desk, shell = opened
    assert (await shell.run("true", 20)).remark == PLAIN_SHELL
    assert (await shell.run("true", 20)).remark == ""
    await desk.channels[-1].close()
    assert (await shell.run("true", 20)).remark == ""


@pytest.mark.parametrize(
    ("first", "then", "seen"),
    [
        ("cd /usr/bin", "pwd", "/usr/bin\n"),
        ("cd /usr; cd /tmp", "cd - >/dev/null; pwd", "/usr\n"),
        ("word='a  b'", 'echo "$word"', "a  b\n"),
        ("text=\"it's \\\"so\\\"\nand \\\\ \\$HOME\"", 'printf %s "$text"', "it's \"so\"\nand \\ $HOME"),
        ("word=$(printf '\\201\\210\\377')", "printf %s \"$word\" | od -An -c | tr -d ' \\n'", "201210377"),
        ("export WORD=on", "sh -c 'echo $WORD'", "on\n"),
        ("unset GIVEN", 'echo "${GIVEN-none}"', "none\n"),
        ("alias say='echo it\\''s' export=false printf=false", "say so", "its so\n"),
        ("umask 0077", "umask", "0077\n"),
        ("readonly fixed=1", "(fixed=2) 2>/dev/null; echo $fixed", "1\n"),
        ("readonly IFS=/; readonly PATH", 'echo "$IFS"', "/\n"),
        ("cd /usr; set -e; x=1; false; x=2", "pwd; echo $x", "/usr\n1\n"),
        ("cd /usr; x=1; exit 7", "pwd; echo $x", "/usr\n1\n"),
        ("set -C -f -u", 'echo "$undefined"/us[r]; echo x >$HOME/new; echo x >$HOME/new', "/usr\n"),
        ("exec >/dev/null 2>&1 <&- 3<&- 4>&- 5>&-", "echo heard", "heard\n"),
        ("printf() { echo no; }; read() { :; }; cd() { :; }; test() { :; }", "cd /usr; pwd", "/usr\n"),
        ("large=$(head -c 2000000 /dev/zero | tr '\\0' x)", "echo ${#large}", "2000000\n"),
        ("_=x; OPTIND=7; TMOUT=1; PS4='$(exit 7)'", "sleep 1.2; echo late", "late\n"),
    ],
)  # fmt: skip
async def test_state_stays(opened: Opened, first: str, then: str, seen: str) -> None:
    _, shell = opened
    await shell.run(first, 20)
    await shell.run(":", 20)
    result = await shell.run(then, 20)
    assert result.output.decode("utf-8", "backslashreplace") == seen
    assert (await shell.run("(exit 8)", 20)).exit_code == 8


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [
        ("exit 5", 5),
        ("exec sh -c 'exit 6'", 6),
        ("kill -9 $$; sleep 5", KILLED),
        ("kill $$; sleep 0.2", None),
        ("kill -9 0", KILLED),
        ("unset PATH; no-such-program", 127),
        ("echo 'open", 2),
        ("cat <<END\nnever closed", 0),
        ("for fd in 3 4 5 6 7; do printf 'forged 0 saved\\n' >/proc/$$/fd/$fd; done 2>/dev/null; false", 1),
        ("timeout 0.2 cat /proc/$$/fd/3 2>/dev/null; false", 1),
    ],
)
async def test_it_survives(opened: Opened, command: str, exit_code: int | None) -> None:
    _, shell = opened
    await shell.run("kept=yes; cd /usr", 20)
    result = await shell.run(command, 20)
    assert exit_code is None or result.exit_code == exit_code
    assert await printed(shell, 'echo "$kept $PWD"') == "yes /usr\n"


async def test_a_command_of_a_megabyte_runs(opened: Opened) -> None:
    _, shell = opened
    lines = "\n".join(f"# {number} {'x' * 40}" for number in range(20_000))
    assert await printed(shell, f'{lines}\necho "${{#x}}"; cat <<END | wc -c\n{lines}\nEND') == f"0\n{len(lines) + 1}\n"


async def test_at_the_deadline_the_command_is_killed(opened: Opened) -> None:
    _, shell = opened
    await shell.run("kept=yes", 20)
    nap = 1000 + os.getpid()  # other tests sleep on this machine as well
    result = await shell.run(f"kept=no; echo begun; sleep {nap} & sleep {nap}", 0.5)
    assert (result.timed_out, result.exit_code, result.output) == (True, None, b"begun\n")
    counting = f"cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c '[s]leep {nap}'"
    # A process that was killed needs a moment to be gone.
    waiting = f"for _ in 1 2 3 4 5 6 7 8 9 10; do n=$({counting}); [ $n = 0 ] && break; sleep 0.5; done"
    assert await printed(shell, f"echo $kept; {waiting}; echo $n") == "yes\n0\n"


async def test_a_state_that_was_not_saved_is_said(opened: Opened) -> None:
    _, shell = opened
    await shell.run("kept=yes", 20)
    assert (await shell.run("kept=no; exec env", 20)).remark == NOT_SAVED
    assert await printed(shell, "echo $kept") == "yes\n"


@pytest.mark.parametrize("damage", [b"kept=forged\nexit 7\n", b"\0\xff" * 9000, b""])
async def test_a_damaged_state_is_said(opened: Opened, damage: bytes) -> None:
    desk, shell = opened
    await shell.run("kept=yes; cd /usr", 20)
    for name in ("a", "b"):
        (desk.folder / "state" / name).write_bytes(damage)
    result = await shell.run('echo "$kept"; pwd', 20)
    assert (result.output.decode(), result.remark) == (f"\n{desk.folder}/home\n", STATE_LOST)


async def test_a_shell_that_stands_still_is_replaced(opened: Opened) -> None:
    _, shell = opened
    await shell.run("kept=yes", 20)
    result = await shell.run("kill -STOP $$", 0.3)
    assert result.exit_code is None
    assert result.remark != NOT_BEGUN
    assert await printed(shell, "echo $kept") == "yes\n"
