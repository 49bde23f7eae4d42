"""Every way in which `agent run` ends: its exit code, its sentence, and the work and the record that stay."""

import re
import signal
from pathlib import Path

from agent_desk import DONE, EDIT, KeyedServer, WriteScript, check_record, run_to_its_end
from real_things import VENV, Console, GitRepository, calls, end, fault, is_running, wait_for

from results.records.events import EndEvent, ToolResultEvent

# -- by itself


def test_server_that_answers_500_for_ever_is_an_error(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    script = write_script(EDIT, fault(99, status=500, message="out of cheese"), DONE)
    done = run_to_its_end(console, repository, script)
    assert done.code == 1
    assert re.search(r"error: the backend at http://\S+ answered 500: .*out of cheese", done.err)
    assert check_record(console, "error").outcome.error == "backend"
    assert "+hello world" in done.out


def test_server_that_stalls_is_unreachable(console: Console, repository: GitRepository, write_script: WriteScript):
    script = write_script(EDIT, fault(99, stall=30), DONE)
    done = run_to_its_end(console, repository, script, "--stall-timeout", "0.5", "--retries", "0")
    assert done.code == 5
    assert "sent no headers for 0.5 seconds" in done.err
    assert "Is the server still running" in done.err
    check_record(console, "error")


def test_limit_keeps_the_work(console: Console, repository: GitRepository, write_script: WriteScript):
    done = run_to_its_end(console, repository, write_script(EDIT, DONE), "--max-steps", "1")
    assert done.code == 3
    assert "limit:steps" in done.out
    assert "+hello world" in done.out
    check_record(console, "limit:steps")


def test_headless_question_is_denied_and_no_success(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    done = run_to_its_end(console, repository, write_script(EDIT, DONE), "--approve", "ask")
    assert done.code == 4
    assert "--approve all" in done.err
    assert repository.read("greeting") == "hello\n"
    check_record(console, "refused")
    assert [event.denied for event in console.events() if isinstance(event, ToolResultEvent)] == [True]


def test_context_that_is_full_has_an_exit_of_its_own(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    script = write_script(calls("seq 1 3000"), DONE, context_window=3000)
    done = run_to_its_end(console, repository, script)
    assert done.code == 6
    assert "larger context window" in done.err
    check_record(console, "limit:context")


def test_backend_that_goes_away_is_unreachable_and_debug_has_the_traceback(console: Console, repository: GitRepository):
    with KeyedServer() as server:
        done = console.agent(
            "run", "x", "--repo", repository.path, "--retries", "0", "--debug", "--backend", server.url
        )
    assert done.code == 5
    assert "Traceback" in done.err
    assert "BackendUnreachableError" in done.err
    assert "Is the server still running" in done.err
    check_record(console, "error")


def test_git_folder_that_the_agent_deletes_is_told(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    done = run_to_its_end(console, repository, write_script(calls("echo kept >new; rm -rf .git"), DONE))
    assert done.code == 0
    assert "+kept" in console.patch()
    assert "(.git) were removed or broken meanwhile" in done.err
    last = console.events()[-1]
    assert isinstance(last, EndEvent)
    assert "the work is in the diff" in last.outcome.detail


# -- interrupts


def test_interrupt_ends_the_command_and_keeps_the_work(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    script = write_script(calls("echo kept >new; sleep 300 & echo $! >pid; touch .git/ready; wait"), DONE)
    process = console.start("run", "x", "--repo", repository.path, "--approve", "all", "--backend", script)
    wait_for(repository.path / ".git" / "ready")
    done = end(process)
    assert done.code == 130
    assert "Traceback" not in done.err
    assert "+kept" in done.out
    assert "+kept" in console.patch()
    check_record(console, "interrupted")
    assert not is_running(int(repository.read("pid")))


def test_request_to_end_while_the_model_speaks_is_an_interrupt(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    script = write_script(calls("touch .git/ready"), {"content": "slow " * 1000}, token_delay=0.05)
    process = console.start("run", "x", "--repo", repository.path, "--approve", "all", "--backend", script)
    wait_for(repository.path / ".git" / "ready")
    assert end(process, signal.SIGTERM).code == 130
    check_record(console, "interrupted")


def test_interrupt_while_the_server_is_asked_for_its_models(console: Console, repository: GitRepository, home: Path):
    with KeyedServer(silent=home / "asked") as server:
        process = console.start("run", "x", "--repo", repository.path, "--backend", server.url)
        wait_for(home / "asked")
        done = end(process)
    assert (done.code, "Traceback" in done.err) == (130, False)


def test_reader_that_leaves_does_not_lose_the_work(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    script = write_script(calls("seq 1 5000"), EDIT, DONE)
    command = f"{VENV}/bin/agent run x --repo {repository.path} --approve all --backend {script} | head -n 1"
    done = console.run(["bash", "-c", command])
    assert repository.read("greeting") == "hello world\n"
    assert "Exception" not in done.err
    check_record(console, "finished")
