"""What every sandbox promises, as tests that run against each kind: see `tools.sandbox.Sandbox`.

A test module derives a class from `SandboxPromises` and gives it a fixture `sandbox`.
"""

import asyncio
from pathlib import Path

import pytest
from shell_promises import ShellPromises, printed, processes, shell

from runners.shell import KILLED
from tools.sandbox import KEPT_FROM, KEPT_LIMIT, Sandbox


class SandboxPromises(ShellPromises):
    """The conformance suite."""

    # -- answers

    async def test_output_and_exit_code_of_a_command_come_back(self, sandbox: Sandbox) -> None:
        result = await shell(sandbox, "printf out; printf err >&2; exit 3")
        assert (result.output, result.exit_code, result.timed_out) == (b"outerr", 3, False)

    async def test_output_without_a_final_newline_stays_without(self, sandbox: Sandbox) -> None:
        assert await printed(sandbox, "printf 'no newline'") == "no newline"

    async def test_output_is_bytes_as_printed(self, sandbox: Sandbox) -> None:
        result = await shell(sandbox, r"printf '\0\377\r\n\033[1m'")
        assert result.output == b"\0\xff\r\n\x1b[1m"

    async def test_a_signal_shows_as_128_plus_its_number(self, sandbox: Sandbox) -> None:
        assert (await shell(sandbox, "sh -c 'kill -9 $$'")).exit_code == KILLED

    async def test_a_syntax_error_is_an_answer(self, sandbox: Sandbox) -> None:
        result = await shell(sandbox, "if then")
        assert result.exit_code == 2
        assert b"syntax error" in result.output
        assert await printed(sandbox, "echo well") == "well\n"

    async def test_a_nul_byte_is_refused(self, sandbox: Sandbox) -> None:
        with pytest.raises(ValueError, match="NUL"):
            await shell(sandbox, "echo a\0b")

    async def test_stdin_is_empty(self, sandbox: Sandbox) -> None:
        assert await printed(sandbox, "cat; read line || echo end") == "end\n"

    async def test_memory_is_bounded_whatever_is_printed(self, sandbox: Sandbox) -> None:
        result = await shell(sandbox, "yes | head -c 30000000; echo the end", timeout=60)
        assert len(result.output) + result.dropped == 30_000_000 + len("the end\n")
        assert result.dropped > 20_000_000
        assert result.output.endswith(b"the end\n")
        assert result.output.startswith(b"y\ny\n")

    async def test_a_listener_hears_output_while_the_command_runs(self, sandbox: Sandbox) -> None:
        pieces: list[bytes] = []
        heard = asyncio.Event()

        def listen(data: bytes) -> None:
            pieces.append(data)
            heard.set()

        command = "printf '%060d\\n' 1; sleep 0.5; echo late"
        running = asyncio.create_task(sandbox.shell(command, timeout=20, on_output=listen))
        await heard.wait()
        assert not running.done()
        result = await running
        assert b"".join(pieces) == result.output

    # -- outputs that are kept

    @pytest.mark.parametrize("size", [KEPT_FROM, 1_000_000, 3_000_000])
    async def test_a_long_output_is_kept_in_a_file_while_it_arrives(self, sandbox: Sandbox, size: int) -> None:
        path = f"{sandbox.scratch_directory}/new folder/kept"
        result = await sandbox.shell(f"seq 1000000 | head -c {size}", timeout=60, keep_at=path)
        assert (result.kept, result.not_kept) == (size, "")
        assert await sandbox.read_bytes(path) == "".join(f"{n}\n" for n in range(1, 1_000_000)).encode()[:size]

    async def test_a_short_output_makes_no_file(self, sandbox: Sandbox) -> None:
        path = f"{sandbox.scratch_directory}/kept"
        result = await sandbox.shell(f"head -c {KEPT_FROM - 1} /dev/zero", timeout=20, keep_at=path)
        assert (result.kept, result.not_kept) == (0, "")
        with pytest.raises(FileNotFoundError):
            await sandbox.read_bytes(path)

    async def test_an_output_without_end_is_kept_up_to_a_limit(self, sandbox: Sandbox) -> None:
        path = f"{sandbox.scratch_directory}/kept"
        result = await sandbox.shell(f"yes | head -c {KEPT_LIMIT + 5_000_000}", timeout=60, keep_at=path)
        assert (result.kept, result.not_kept) == (KEPT_LIMIT, "")
        assert await printed(sandbox, f"wc -c <{path}") == f"{KEPT_LIMIT}\n"

    async def test_what_was_printed_before_a_deadline_is_kept(self, sandbox: Sandbox) -> None:
        path = f"{sandbox.scratch_directory}/kept"
        result = await sandbox.shell("seq 10000; sleep 974", timeout=1.0, keep_at=path)
        assert (result.timed_out, result.kept) == (True, len(result.output))
        assert await sandbox.read_bytes(path) == result.output

    async def test_an_output_that_cannot_be_kept_says_why(self, sandbox: Sandbox) -> None:
        result = await sandbox.shell("seq 100000", timeout=20, keep_at="/etc/passwd/kept")
        assert (result.exit_code, result.kept, result.not_kept) == (0, 0, "Not a directory")
        assert result.output.endswith(b"\n100000\n")

    # -- what persists between commands

    async def test_the_shell_starts_in_the_working_directory(self, sandbox: Sandbox) -> None:
        assert await printed(sandbox, "pwd -P") == f"{sandbox.working_directory}\n"

    @pytest.mark.parametrize(
        ("first", "then", "seen"),
        [
            ("cd /usr/bin", "pwd", "/usr/bin\n"),
            ("cd /usr; cd /tmp", "cd - >/dev/null; pwd", "/usr\n"),
            ("word='a  b'", 'echo "$word"', "a  b\n"),
            ("list=(1 '2 3')", 'echo "${#list[@]}:${list[1]}"', "2:2 3\n"),
            ("declare -A map=([k]=v)", 'echo "${map[k]}"', "v\n"),
            ("export GIVEN=on", "sh -c 'echo $GIVEN'", "on\n"),
            ("export GIVEN=on; unset HOME", 'echo "$GIVEN${HOME-none}"', "onnone\n"),
            ("greet() { echo \"hello $1\"; }", "greet you", "hello you\n"),
            ("greet() { echo hi; }; export -f greet", "bash -c greet", "hi\n"),
            ("alias say='echo alias'", "say so", "alias so\n"),
            ("umask 0077", "umask", "0077\n"),
            ("readonly fixed=1", "(fixed=2) 2>/dev/null; echo $fixed", "1\n"),
            ("text=$'two\\nlines\\t\\x01'", "printf %s \"$text\" | od -An -c | tr -d ' \\n'", "two\\nlines\\t001"),
            ("cd /usr; set -e; x=1; false; x=2", "pwd; echo $x", "/usr\n1\n"),
            ("set -C; cd /usr; x=1", "pwd; echo $x", "/usr\n1\n"),
            ("cd /usr; x=1; exit 7", "pwd; echo $x", "/usr\n1\n"),
        ],
    )  # fmt: skip
    async def test_state_stays(self, sandbox: Sandbox, first: str, then: str, seen: str) -> None:
        await shell(sandbox, first)
        await shell(sandbox, ":")
        assert await printed(sandbox, then) == seen

    @pytest.mark.parametrize(
        ("first", "then", "seen"),
        [
            ("set -euo pipefail", "false; echo ${-//[!eu]/}; echo $undefined", "\n\n"),
            ("set -x", "echo quiet", "quiet\n"),
            ("set -n", "echo runs", "runs\n"),
            ("trap 'echo trapped' EXIT DEBUG ERR", "false", ""),
            ("exec >/dev/null 2>&1", "echo heard", "heard\n"),
            ("exec 2>&-; exec 0<&-", "echo heard >&2", "heard\n"),
            ("PS4='nonsense '; PS1='> '", "echo ${PS1-none}", "none\n"),
        ],
    )
    async def test_options_traps_redirections_and_prompts_do_not_stay(
        self, sandbox: Sandbox, first: str, then: str, seen: str
    ) -> None:
        await shell(sandbox, first)
        assert await printed(sandbox, then) == seen

    async def test_a_trap_on_exit_runs_when_its_command_ends(self, sandbox: Sandbox) -> None:
        assert await printed(sandbox, "trap 'echo cleaned up' EXIT; echo works") == "works\ncleaned up\n"

    # -- what cannot break the shell

    @pytest.mark.parametrize(
        ("command", "exit_code"),
        [
            ("exit 5", 5),
            ("exec sh -c 'exit 6'", 6),
            ("exec /nonexistent", 127),
            ("return 4", 2),
            ("break; continue", 0),
            ("kill -9 $BASHPID", KILLED),
            ("kill $$; sleep 5", 143),
            ("kill -9 $$; sleep 5", KILLED),
            ("kill -9 0", KILLED),
            ("unset PATH; hash -r; ls", 127),
            ("exec 1>&- 2>&-; echo nobody hears", 1),
            ('for fd in 3 4 5 6 7 8 9; do eval "exec $fd>&-"; done', 0),
            ("eval() { echo no; }; trap() { :; }; printf() { :; }; exit 0", 0),
            ("while :; do break; done; false", 1),
            (": 'open", 2),
            ("cat <<END\nnever closed", 0),
        ],
    )
    async def test_the_shell_survives(self, sandbox: Sandbox, command: str, exit_code: int) -> None:
        await shell(sandbox, "kept=yes; cd /usr")
        result = await shell(sandbox, command)
        assert result.exit_code == exit_code
        assert await printed(sandbox, 'builtin echo "$kept $PWD"') == "yes /usr\n"

    async def test_a_large_command_runs(self, sandbox: Sandbox) -> None:
        assert await printed(sandbox, f"wc -c <<< '{'x' * 200_000}'") == "200001\n"

    async def test_what_a_command_prints_is_never_taken_for_the_end(self, sandbox: Sandbox) -> None:
        forged = "for i in 1 2 3; do printf '\\n%032d %d\\n' $i 0; done; set | head -c 100000; exit 9"
        result = await shell(sandbox, forged)
        assert result.exit_code == 9
        assert await printed(sandbox, "echo next") == "next\n"

    # -- deadlines

    async def test_at_the_deadline_the_process_tree_dies_and_the_shell_lives(self, sandbox: Sandbox) -> None:
        await shell(sandbox, "kept=yes")
        command = "lost=yes; echo begun; sleep 987 & (setsid sleep 987 &) ; sleep 987 | cat"
        result = await shell(sandbox, command, timeout=1.0)
        assert (result.timed_out, result.exit_code, result.output) == (True, None, b"begun\n")
        assert "sleep 987" not in await processes(sandbox)
        assert await printed(sandbox, "echo $kept$lost") == "yes\n"

    async def test_a_busy_loop_of_the_shell_itself_is_ended(self, sandbox: Sandbox) -> None:
        result = await shell(sandbox, "trap '' TERM INT; while :; do :; done", timeout=0.5)
        assert result.timed_out
        assert await printed(sandbox, "echo alive") == "alive\n"

    async def test_a_cancelled_command_is_killed_and_the_next_one_runs(self, sandbox: Sandbox) -> None:
        await shell(sandbox, "kept=yes")
        running = asyncio.create_task(shell(sandbox, "sleep 986"))
        await asyncio.sleep(0.3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await printed(sandbox, "echo $kept") == "yes\n"
        assert "sleep 986" not in await processes(sandbox)

    async def test_commands_wait_for_one_another(self, sandbox: Sandbox) -> None:
        results = await asyncio.gather(*(shell(sandbox, f"sleep 0.05; echo {number}") for number in range(5)))
        assert [result.output for result in results] == [f"{number}\n".encode() for number in range(5)]

    async def test_a_process_in_the_background_goes_on(self, sandbox: Sandbox) -> None:
        await shell(sandbox, '(sleep 0.3; echo done > "$PWD/background") >/dev/null 2>&1 &')
        command = "until [ -s background ]; do sleep 0.1; done; cat background; rm background"
        assert await printed(sandbox, command) == "done\n"

    # -- exec, apart from the shell

    async def test_exec_has_its_own_state_stdin_and_environment(self, sandbox: Sandbox) -> None:
        await shell(sandbox, "cd /usr; secret=1")
        result = await sandbox.exec(
            'pwd -P; cat; echo "$GIVEN$secret"; exit 4', timeout=20, stdin=b"fed\n", environment={"GIVEN": "g"}
        )
        assert (result.output.decode(), result.exit_code) == (f"{sandbox.working_directory}\nfed\ng\n", 4)

    async def test_a_daemon_that_an_earlier_command_became_while_nothing_ran_goes_on(self, sandbox: Sandbox) -> None:
        script = "sleep 0.3; setsid sleep 9731 >/dev/null 2>&1 </dev/null &\nsleep 0.6\n"
        await sandbox.write_bytes("/tmp/become-daemon.sh", script.encode())
        await shell(sandbox, "nohup sh /tmp/become-daemon.sh >/dev/null 2>&1 </dev/null &")
        await asyncio.sleep(1.5)
        assert (await shell(sandbox, "sleep 9732", timeout=0.5)).timed_out
        assert "sleep 9731" in await processes(sandbox)
        assert "sleep 9732" not in await processes(sandbox)
        await shell(
            sandbox,
            "kill -9 $(pgrep -f 'sleep 973[1]' || ps -eo pid,args | sed -n 's/ *\\([0-9]*\\) sleep 9731/\\1/p')",
        )

    async def test_exec_is_ended_at_its_deadline(self, sandbox: Sandbox) -> None:
        result = await sandbox.exec("echo begun; sleep 985", timeout=1.0)
        assert (result.output, result.exit_code, result.timed_out) == (b"begun\n", None, True)
        assert "sleep 985" not in await processes(sandbox)

    # -- files

    @pytest.mark.parametrize("data", [b"", b"text\n", bytes(range(256)) * 5000, b"\0" * 10])
    async def test_bytes_come_back_as_written(self, sandbox: Sandbox, data: bytes) -> None:
        path = f"{sandbox.working_directory}/new folder/it's a fílé.bin"
        await sandbox.write_bytes(path, data)
        assert await sandbox.read_bytes(path) == data
        assert await sandbox.read_bytes(path, limit=3) == data[:3]

    async def test_writing_keeps_a_mode(self, sandbox: Sandbox) -> None:
        path = f"{sandbox.working_directory}/script.sh"
        await sandbox.write_bytes(path, b"echo 1")
        await shell(sandbox, f"chmod 750 {path}")
        await sandbox.write_bytes(path, b"echo 2")
        assert await printed(sandbox, f"stat -c %a {path}") == "750\n"

    async def test_missing_files_and_folders_are_told_apart(self, sandbox: Sandbox) -> None:
        with pytest.raises(FileNotFoundError):
            await sandbox.read_bytes("/nonexistent/file")
        with pytest.raises(IsADirectoryError):
            await sandbox.read_bytes("/usr")
        with pytest.raises(IsADirectoryError):
            await sandbox.write_bytes("/usr", b"")
        with pytest.raises((NotADirectoryError, FileExistsError)):
            await sandbox.write_bytes("/etc/passwd/below", b"")

    async def test_a_tree_goes_in_and_comes_out_again(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = tmp_path / "source"
        (source / "sub").mkdir(parents=True)
        (source / "sub" / "file").write_bytes(b"\0data")
        (source / "link").symlink_to("sub/file")
        (source / "tool").write_text("#!/bin/sh\n")
        (source / "tool").chmod(0o755)
        target = f"{sandbox.working_directory}/uploaded/tree"
        await sandbox.upload(source, target)
        assert await printed(sandbox, f"readlink {target}/link; stat -c %a {target}/tool") == "sub/file\n755\n"
        await sandbox.download(target, tmp_path / "back")
        assert (tmp_path / "back" / "sub" / "file").read_bytes() == b"\0data"
        assert (tmp_path / "back" / "link").is_symlink()
        await sandbox.download(f"{target}/sub/file", tmp_path / "single")
        assert (tmp_path / "single").read_bytes() == b"\0data"

    async def test_closing_twice_is_fine(self, sandbox: Sandbox) -> None:
        await shell(sandbox, ":")
        await sandbox.close()
        await sandbox.close()
