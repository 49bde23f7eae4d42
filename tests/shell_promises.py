"""What a sandbox's shell promises against commands that would break it, or forge what it says.

`sandbox_promises.SandboxPromises` holds these too, so that they run against each kind of sandbox.
"""

import asyncio
import shlex

import pytest

from runners.shell import KILLED, NOT_BEGUN, NOT_SAVED, STATE_LOST
from tools.sandbox import CommandResult, Sandbox

FOLDER = "$(tr '\\0' '\\n' </proc/$$/cmdline | tail -n 3 | head -n 1)"
"""Where the state lies, in a command: it stands on the worker's command line."""


async def shell(sandbox: Sandbox, command: str, timeout: float = 20.0) -> CommandResult:
    return await sandbox.shell(command, timeout=timeout)


async def printed(sandbox: Sandbox, command: str) -> str:
    return (await shell(sandbox, command)).output.decode()


async def processes(sandbox: Sandbox) -> str:
    """The command lines of all processes; `ps` is not in every image."""
    return await printed(sandbox, "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done 2>/dev/null")


class ShellPromises:
    """A part of the conformance suite."""

    @pytest.mark.parametrize(
        "command",
        [
            "set -e; false; :",
            "set -u; : $undefined_name",
            "set -euo pipefail; set -x; trap 'exit 3' ERR; false",
            "set -o posix; shopt -s extdebug; set -k",
            "export POSIXLY_CORRECT=1; an-odd.name() { :; }",
            "readonly IFS=/; readonly PATH; set -f",
            "IFS=0123456789abcdef-t",
            "readonly TMOUT=1",
            "TMOUT=1; sleep 1.2",
            "export LANG=tr_TR.UTF-8 LC_ALL=C LC_CTYPE=nonsense",
            "export BASH_ENV=/nonexistent ENV=/nonexistent PROMPT_COMMAND='exit 9' PS1='$(exit 8)' PS4='$(exit 7)'",
            "enable -n printf read declare trap eval set exit test [ kill wait exec; :",
            "for n in cd printf exit read eval trap declare set unset exec kill test local return command compgen echo;"
            'do builtin eval "$n() { builtin echo no; }"; done',
            "alias builtin=false eval=false printf='exit 5' read='exit 5' trap='exit 5' exec='exit 5' '['=false",
            "trap 'echo T' DEBUG ERR RETURN EXIT; set -T -E",
            "exec 1>/dev/null 2>&1 0<&- 3>&- 4>&- 5>&- 6>&- 7>&- 8>&-",
            "unset PATH HOME PWD OLDPWD SHELL IFS",
            "hash -p /bin/false cat; shopt -s failglob nullglob dotglob nocasematch extglob",
            "unset -f $(compgen -A function); unset -v ${!_worker*} 2>/dev/null; :",
            "ulimit -f 0",
            "umask 0777",
            "set -- a b c; shift; OPTIND=7; REPLY=x; RANDOM=1; SECONDS=99; LINENO=7",
            "for n in 1 2 3; do (exit $n) & done; wait; disown -a 2>/dev/null; set +m; jobs",
        ],
    )  # fmt: skip
    async def test_the_next_command_is_answered_as_ever(self, sandbox: Sandbox, command: str) -> None:
        await shell(sandbox, "kept=yes")
        await shell(sandbox, command)
        for _ in range(2):
            result = await shell(sandbox, '\\builtin echo "$kept"; (\\builtin exit 6)')
            assert (result.output, result.exit_code, result.remark) == (b"yes\n", 6, "")

    @pytest.mark.parametrize(
        ("first", "then", "seen"),
        [
            ("text=$(head -c 5000000 /dev/zero | tr '\\0' x)", "echo ${#text}", "5000000\n"),
            ('for i in $(seq 3000); do eval "f$i() { echo $i; }"; done', "f2999; f1", "2999\n1\n"),
            ("cd() { builtin cd /; }; ll() { :; }; declare -fx ll; readonly -f ll", "declare -F", None),
            ("REPLY=mine; unset TMOUT", 'echo "$REPLY"', "mine\n"),
            ("set -- a b", 'echo "$#$1"', "0\n"),
            ("export POSIXLY_CORRECT=1", "sh -c 'echo $POSIXLY_CORRECT'", "1\n"),
            ("cd /usr; trap 'echo bye' EXIT; x=1", "pwd; echo $x", "/usr\n1\n"),
        ],
    )
    async def test_unusual_state_stays(self, sandbox: Sandbox, first: str, then: str, seen: str | None) -> None:
        await shell(sandbox, first)
        await shell(sandbox, ":")
        output = await printed(sandbox, then)
        if seen is None:
            lines = [line for line in output.splitlines() if "_worker_" not in line]
            assert lines == ["declare -f cd", "declare -frx ll"]
        else:
            assert output == seen

    async def test_what_is_ours_is_in_nobodys_environment(self, sandbox: Sandbox) -> None:
        seen = await printed(sandbox, "env; tr '\\0' '\\n' </proc/$$/environ; echo $#; compgen -e")
        assert "SHELL_WORKER" not in seen
        assert "SERVICE_WORKER" not in seen
        assert "_worker" not in seen
        assert "_worker" not in seen

    async def test_tracing_shows_the_command_alone(self, sandbox: Sandbox) -> None:
        lines = (await printed(sandbox, "set -x; true one; true two")).splitlines()
        assert [line.lstrip("+ ") for line in lines] == ["true one", "true two"]

    # -- what it says when something is not kept

    @pytest.mark.parametrize(
        ("command", "exit_code"),
        [
            ("kept=no; exec true", 0),
            ("kept=no; kill -9 $BASHPID", KILLED),
            ("kept=no; kill -9 $$; sleep 5", KILLED),
            ("kept=no; ulimit -f 0; false", 1),
            ("kept=no; trap 'exit 4' EXIT; exit 3", 4),
            ("kept=no; builtin() { :; }", 0),
        ],
    )
    async def test_a_state_that_was_not_saved_is_said(self, sandbox: Sandbox, command: str, exit_code: int) -> None:
        await shell(sandbox, "kept=yes")
        result = await shell(sandbox, command)
        assert (result.exit_code, result.remark) == (exit_code, NOT_SAVED)
        result = await shell(sandbox, "echo $kept")
        assert (result.output, result.remark) == (b"yes\n", "")

    @pytest.mark.parametrize(
        "damage",
        [
            "echo 'kept=forged; exit 7' >$f",
            "head -c 100000 /dev/urandom >$f",
            ": >$f",
            "rm $f; mkdir -p $f/sub",
            "rm $f; mkfifo $f",
            "rm $f; ln -s /dev/zero $f",
            "rm $f; ln -s $f $f",
            "rm -rf ${f%/*}",
            "rm -rf ${f%/*}; touch ${f%/*}",
        ],
    )
    async def test_a_damaged_state_is_mended_or_said(self, sandbox: Sandbox, damage: str) -> None:
        everywhere = f"d={FOLDER}; for f in $d/a $d/b $d/current; do {damage}; done 2>/dev/null"
        await shell(sandbox, "kept=yes; cd /usr")
        # The command's own state is saved at its end, in new files.
        result = await shell(sandbox, everywhere)
        assert (result.exit_code, result.remark) == (0, "")
        assert await printed(sandbox, 'echo "$kept $PWD"') == "yes /usr\n"
        # What comes later damages what the next command would begin with, were that not loaded already.
        await shell(sandbox, f"(sleep 0.4; {everywhere}) >/dev/null 2>&1 &")
        await shell(sandbox, "sleep 0.8; kill -9 $BASHPID")
        result = await shell(sandbox, 'echo "$kept"; pwd -P')
        assert (result.output.decode(), result.exit_code) == (f"\n{sandbox.working_directory}\n", 0)
        assert result.remark == STATE_LOST
        assert (await shell(sandbox, "kept=again")).remark == ""
        assert await printed(sandbox, "echo $kept") == "again\n"

    @pytest.mark.parametrize("line", ["exit 7", "kept=", "_worker_whole=; :", "kill -9 $BASHPID"])
    async def test_a_state_that_somebody_added_to_does_no_harm(self, sandbox: Sandbox, line: str) -> None:
        await shell(sandbox, "kept=yes")
        add = f"d={FOLDER}; for f in $d/a $d/b; do echo {shlex.quote(line)} >>$f; done"
        await shell(sandbox, f"(sleep 0.4; {add}) >/dev/null 2>&1 &")
        await shell(sandbox, "sleep 0.8; kill -9 $BASHPID")
        result = await shell(sandbox, "echo runs; exit 3")
        assert (result.output, result.exit_code) == (b"runs\n", 3)

    async def test_a_state_that_takes_for_ever_is_given_up(self, sandbox: Sandbox) -> None:
        add = f"d={FOLDER}; for f in $d/a $d/b; do echo 'sleep 979' >>$f; done"
        await shell(sandbox, f"(sleep 0.4; {add}) >/dev/null 2>&1 &")
        await shell(sandbox, "sleep 0.8; kill -9 $BASHPID")
        results = [await shell(sandbox, "echo runs", timeout=0.5) for _ in range(3)]
        assert [(result.output, result.exit_code) for result in results[:2]] == [(b"", None)] * 2
        assert results[0].remark == NOT_BEGUN
        assert (results[2].output, results[2].remark) == (b"runs\n", STATE_LOST)

    # -- what others say in its place

    @pytest.mark.parametrize(
        "command",
        [
            "for fd in 0 1 2 3 4 5 6 7 8; do printf 'forged 0 saved\\n\\0\\n' >/proc/$$/fd/$fd; done",
            "for fd in 5 2; do yes '1 1' | head -c 3000000 >/proc/$$/fd/$fd; done",
            "for fd in 5 2; do head -c 100000 /dev/urandom >/proc/$$/fd/$fd; done",
            "timeout 0.3 cat /proc/$$/fd/[0-9]*",
            "timeout 0.3 cat /proc/$$/fd/3 | tee /proc/$$/fd/4",
            "for i in 1 2 3; do printf '\\n%016d 0 saved\\n' $i; printf '\\n%016d 1\\n' $i >/proc/$$/fd/5; done",
        ],
    )
    async def test_writing_and_reading_its_streams_forges_nothing(self, sandbox: Sandbox, command: str) -> None:
        await shell(sandbox, "kept=yes")
        result = await shell(sandbox, f"{{ {command}; }} 2>/dev/null; false")
        assert result.exit_code == 1
        for _ in range(2):
            result = await shell(sandbox, 'echo "$kept"; exit 8')
            assert result.output.endswith(b"yes\n")
            assert result.exit_code == 8

    async def test_a_process_id_that_is_not_the_commands_kills_nobody(self, sandbox: Sandbox) -> None:
        await shell(sandbox, "sleep 978 & innocent=$!; sleep 0.1")
        forge = "for fd in 2 5; do printf '\\n%s\\n\\nready bash\\n%s %s\\n' $innocent x $innocent; done >/proc/$$/fd/5"
        result = await shell(sandbox, f"{forge}; sleep 977", timeout=1.0)
        assert (result.timed_out, result.exit_code) == (True, None)
        left = await processes(sandbox)
        assert "sleep 978" in left
        assert "sleep 977" not in left

    @pytest.mark.parametrize("stream", [3, 4, 5])
    async def test_a_thief_of_its_streams_costs_commands_and_never_the_truth(
        self, sandbox: Sandbox, stream: int
    ) -> None:
        await shell(sandbox, "kept=yes")
        await shell(sandbox, f"cat /proc/$$/fd/{stream} >/dev/null 2>&1 & thief=$!; sleep 0.2")
        for _ in range(4):
            result = await shell(sandbox, "echo ran; exit 8", timeout=1.0)
            assert result.exit_code in (None, 8)
            if result.remark == NOT_BEGUN:
                assert result.output == b""
        await shell(sandbox, "[ $thief ] && kill -9 $thief", timeout=1.0)
        result = await shell(sandbox, "echo well; exit 8")
        assert (result.output, result.exit_code) == (b"well\n", 8)

    @pytest.mark.parametrize("command", ["kill -STOP $$", "kill -STOP $$ $BASHPID", "kill -STOP $BASHPID"])
    async def test_a_shell_that_stands_still_is_replaced(self, sandbox: Sandbox, command: str) -> None:
        await shell(sandbox, "kept=yes")
        result = await shell(sandbox, command, timeout=0.5)
        assert (result.timed_out, result.exit_code) == (True, None)
        assert await printed(sandbox, "echo $kept") == "yes\n"

    async def test_a_function_with_an_extended_pattern_stays(self, sandbox: Sandbox) -> None:
        define = "kept=yes; shopt -s extglob\nf() { case $1 in @(a|b)) echo found;; esac; }"
        assert (await shell(sandbox, define)).exit_code == 0
        seen = await shell(sandbox, "shopt extglob; shopt -s extglob; f a; echo $kept")  # options do not stay
        assert (seen.output.split()[1:], seen.remark) == ([b"off", b"found", b"yes"], "")

    async def test_a_shell_that_dies_between_two_commands_is_replaced(self, sandbox: Sandbox) -> None:
        await shell(sandbox, "kept=yes; (sleep 0.2; kill -9 $$) >/dev/null 2>&1 &")
        await asyncio.sleep(0.6)
        result = await shell(sandbox, "echo $kept")
        assert (result.output, result.exit_code, result.remark) == (b"yes\n", 0, "")

    async def test_what_waits_for_the_next_command_may_be_killed(self, sandbox: Sandbox) -> None:
        kill = "(sleep 0.3; for p in /proc/[0-9]*/stat; do read -r id name state parent rest <$p;"
        kill += " [ $parent = $$ ] && kill -9 $id; done) >/dev/null 2>&1 &"
        await shell(sandbox, f"kept=yes; {kill}")
        await asyncio.sleep(0.8)
        result = await shell(sandbox, "echo $kept")
        assert (result.output, result.exit_code, result.remark) == (b"yes\n", 0, "")
