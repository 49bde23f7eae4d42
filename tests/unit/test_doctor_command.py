"""`agent doctor` as a person runs it: what it shows, its JSON, its exit code; and the check before an eval."""

import json
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer
from conformance.faults import ActiveFault, Fault
from conformance.server import conformance_server
from doctor_desk import SILENT
from typer.testing import CliRunner, Result

from agent.backend import BackendUnreachableError
from agent.backends import BackendOptions, open_backend
from evals.preflight import LostThinkingError, ThinkingNeed, check_thinking, require_thinking
from results.records.doctor import DoctorReport
from unbroken.commands.doctor import doctor

BOTH: tuple[ThinkingNeed, ...] = ("tool_turns", "user_message")
SCRIPT = "scripted: mute\nconversations:\n  - replies:\n      - content: Hello.\n"


def run(*arguments: str) -> Result:
    application = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    application.command()(doctor)
    return CliRunner().invoke(application, arguments)


def examine(family: str, *arguments: str, faults: Sequence[Fault | ActiveFault] = ()) -> Result:
    with conformance_server(family, faults=faults) as server:
        return run("--backend", server.url, *arguments)


def test_a_healthy_server_is_shown_and_exits_0():
    result = examine("llama.cpp")
    assert result.exit_code == 0
    rows = {line[6:38].strip(): line for line in result.stdout.splitlines() if line.startswith(("pass", "FAIL", "?"))}
    assert rows["thinking across tool turns"].split()[-1] == "kept"
    assert rows["thinking across a user message"].split()[-1] == "kept"
    assert "dialect llama.cpp (recognised" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("15 pass, 0 fail")


def test_lost_thinking_exits_1_with_what_mends_it_and_where_to_read_on():
    result = examine("llama.cpp", "--check", "user_message", faults=[Fault.PRESERVE_IGNORED])
    assert result.exit_code == 1
    assert "mend: " in result.stdout
    assert "--reasoning-preserve" in result.stdout
    assert "docs/backends/llama.cpp.md" in result.stdout
    assert "LOST: thinking across a user message (exit 1)" in result.stdout.splitlines()[-1]


def test_another_failure_exits_0_and_says_so():
    result = examine("llama.cpp", "--check", "tool_call", faults=[Fault.CALLS_IN_CONTENT])
    assert result.exit_code == 0
    assert "exit 0, though something failed" in result.stdout.splitlines()[-1]


def test_a_dialect_of_ones_own_is_sent_to_a_page_that_there_is(tmp_path: Path):
    (tmp_path / "our-gateway.toml").write_text('name = "our-gateway"\ntitle = "ours"\nextends = "llama.cpp"\n')
    own = ("--dialect", str(tmp_path / "our-gateway.toml"))
    result = examine("llama.cpp", "--check", "tool_call", *own, faults=[Fault.CALLS_IN_CONTENT])
    assert "docs/backends/own.md" in result.stdout


def test_json_is_the_report_and_nothing_else():
    result = examine("vllm", "--json", "--check", "reach", "--check", "tool_turns")
    report = DoctorReport.model_validate(json.loads(result.stdout))
    assert [finding.check for finding in report.findings] == ["reach", "tool_turns"]
    assert report.backend.dialect == "vllm"
    assert "recognised" in report.recognised_by
    assert "thinking" not in report.backend.stated  # which nobody gave on the command line


def test_json_and_lost_thinking_go_together():
    result = examine("llama.cpp", "--json", "--check", "user_message", faults=[Fault.PRESERVE_IGNORED])
    assert result.exit_code == 1
    assert [one.check for one in DoctorReport.model_validate_json(result.stdout).lost] == ["user_message"]


def test_an_unknown_check_is_a_usage_error_that_names_them():
    result = run("--backend", "http://127.0.0.1:1/v1", "--check", "horoscope")
    assert result.exit_code == 2
    assert "tool_turns" in " ".join(result.output.split())


def test_nobody_at_the_address_is_one_clear_error():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        result = run("--backend", f"http://127.0.0.1:{free.getsockname()[1]}/v1")
    assert isinstance(result.exception, BackendUnreachableError)  # which the command makes exit 5


def test_a_scripted_backend_cannot_be_told_and_is_no_failure(tmp_path: Path):
    (tmp_path / "script.yaml").write_text(SCRIPT)
    result = run("--backend", f"scripted:{tmp_path / 'script.yaml'}")
    assert result.exit_code == 0
    assert "plays back a script" in result.stdout


async def preflight(
    family: str, needs: tuple[ThinkingNeed, ...], faults: Sequence[Fault | ActiveFault] = (), **settings: object
) -> tuple[DoctorReport, int]:
    silent = SILENT if settings.get("silent") else []
    with conformance_server(family, faults=faults, script=silent) as server:
        options = BackendOptions(thinking=settings.get("thinking", True) is True, retries=0)
        async with open_backend(server.url, options) as backend:
            return await check_thinking(backend, needs), len(server.journal)


class TestBeforeAnEval:
    async def test_a_healthy_backend_may_start_after_four_requests(self):
        report, requests = await preflight("llama.cpp", BOTH)
        require_thinking(report)
        assert requests == 4

    async def test_only_what_is_needed_is_asked(self):
        report, requests = await preflight("ollama", ("tool_turns",))
        require_thinking(report)
        assert requests == 2

    @pytest.mark.parametrize(
        "fault", [Fault.REASONING_INPUT_IGNORED, Fault.REASONING_STRIPPED_BY_PROXY, Fault.REASONING_RENAMED]
    )
    async def test_lost_thinking_stops_it_and_says_what_to_do(self, fault: Fault):
        report, requests = await preflight("vllm", ("tool_turns",), [fault])
        with pytest.raises(LostThinkingError, match="--allow-lost-thinking") as caught:
            require_thinking(report)
        assert caught.value.report is report
        assert requests <= 3

    async def test_a_need_that_is_lost_stops_it_though_the_other_is_kept(self):
        report, _ = await preflight("ollama", BOTH)
        with pytest.raises(LostThinkingError, match="user message"):
            require_thinking(report)

    async def test_thinking_that_is_off_cannot_be_lost(self):
        report, requests = await preflight("ollama", BOTH, thinking=False)
        require_thinking(report)
        assert requests == 0

    async def test_not_being_able_to_tell_stops_nothing(self):
        report, _ = await preflight("ollama", BOTH, [Fault.NO_USAGE], silent=True)
        require_thinking(report)
        assert [finding.status for finding in report.findings] == ["cannot_tell", "cannot_tell"]

    async def test_a_scripted_backend_stops_nothing(self, tmp_path: Path):
        (tmp_path / "script.yaml").write_text(SCRIPT)
        async with open_backend(f"scripted:{tmp_path / 'script.yaml'}", BackendOptions()) as backend:
            report = await check_thinking(backend, BOTH)
        require_thinking(report)
        assert {finding.answer for finding in report.findings} == {"cannot tell"}

    async def test_a_server_that_loads_its_model_first_stops_nothing(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("agent.doctor.patient.LONGEST_WAIT", 0.3)
        loading = ActiveFault(kind=Fault.STALL_BEFORE_HEADERS, seconds=0.6, times=1)
        report, _ = await preflight("llama.cpp", ("tool_turns",), [loading])
        assert [finding.answer for finding in report.findings] == ["kept"]

    async def test_nobody_there_is_told_as_that(self):
        with conformance_server("llama.cpp") as server:
            backend = open_backend(server.url, BackendOptions(retries=0))
            opened = await backend.__aenter__()
        with pytest.raises(BackendUnreachableError):
            await check_thinking(opened, BOTH)
        await backend.__aexit__(None, None, None)
