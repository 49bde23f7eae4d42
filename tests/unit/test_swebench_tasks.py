"""What a model is told of a row: its problem statement, and nothing by which the solution could be known."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dataset_desk import pro_row, real_rows
from faulty_server import DONE, GOOD, STREAM_HEAD, delta, faulty, usage
from hypothesis import given
from hypothesis import strategies as st
from loop_desk import Log

from agent.chat_backend import ChatBackend
from evals.agents import ModelAgent
from evals.manifest import make_manifest
from evals.swebench.dataset import Dataset, Row
from evals.swebench.prompt_sets import Prompts, load_prompts, text_sha256
from evals.swebench.rows import Instance, ProRow
from evals.swebench.tasks import directory_of, instructions, task_text
from results.records.events import BackendDescription
from results.records.manifest import AgentDescription, LimitsDescription, Manifest
from runners.local_sandbox import LocalSandbox
from runners.sandbox_options import SandboxOptions

TOLD = {"problem_statement", "requirements", "interface"}
SETS = ("default", "mini", "qwen")
PRO_TEXT = """It breaks.

Requirements:
R

New interfaces introduced:
I"""


def marked(record: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The record with a word of its own in every column that nobody may be told, and these words."""
    columns: dict[str, Any] = {**record, "hints_text": "", "created_at": "", "difficulty": ""}
    words = {name: f"secret-{number:02}-{name}" for number, name in enumerate(columns) if name not in TOLD}
    lists = ("FAIL_TO_PASS", "PASS_TO_PASS", "fail_to_pass", "pass_to_pass", "selected_test_files_to_run")
    return {**columns, **{name: [word] if name in lists else word for name, word in words.items()}}, list(
        words.values()
    )


def swebench_row() -> tuple[Row, list[str]]:
    columns, words = marked(real_rows()[0])
    return Row.model_validate(columns), words


def pro() -> tuple[ProRow, list[str]]:
    columns, words = marked(pro_row("instance_x-vnan"))
    return ProRow.model_validate(columns), words


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(("row", "words"), [swebench_row(), pro()], ids=["swebench", "pro"])
def test_no_set_tells_anything_but_the_task_and_where_it_is(row: Instance, words: list[str], name: str) -> None:
    told = instructions(load_prompts(name), row)
    assert task_text(row) in told.task
    assert directory_of(row) in told.task
    assert not [word for word in words if word in told.system + told.task]
    assert "{directory}" not in told.task
    other = {"/testbed", "/app"} - {directory_of(row)}
    assert not [place for place in other if place in told.system + told.task]


def test_a_row_of_swebench_pro_is_told_with_requirements_and_interface_and_not_by_its_id() -> None:
    row = ProRow.model_validate(pro_row())
    assert directory_of(row) == "/app"
    assert task_text(row) == PRO_TEXT
    without = ProRow.model_validate(pro_row(interface=None))
    assert task_text(without).endswith("\nR\n\nNew interfaces introduced:\n")


@given(st.text(), st.text())
def test_an_issue_is_told_as_it_is_whatever_braces_it_has(issue: str, more: str) -> None:
    issue = f"{issue}{{directory}} {{problem_statement}} {{x}} \\1 {more}"
    row = Row.model_validate({**real_rows()[0], "problem_statement": issue})
    prompts = Prompts("mine", 1, "s", "{directory}|{problem_statement}|")
    assert instructions(prompts, row).task == f"/testbed|{issue}|"


async def test_nothing_of_the_solution_goes_over_the_wire(tmp_path: Path) -> None:
    row, words = swebench_row()
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)  # noqa: ASYNC221 - before anything waits
    function = {"name": "bash", "arguments": json.dumps({"command": "pwd; env; ls -la; git log --all"})}
    call = delta(tool_calls=[{"index": 0, "id": "c1", "type": "function", "function": function}])
    sandbox = LocalSandbox(tmp_path)
    async with faulty([STREAM_HEAD, call, delta("tool_calls"), usage(10, 2), DONE], GOOD) as server:
        backend = ChatBackend(BackendDescription(base_url=server.url, model="m", dialect="generic"))
        agent = ModelAgent(backend, "bash+editor", load_prompts("mini"), LimitsDescription(steps=5), None)
        try:
            outcome = await agent.work(row, sandbox, Log())
        finally:
            await sandbox.close()
            await backend.close()
    assert (outcome.exit, len(server.requests)) == ("finished", 2)
    sent = b"".join(server.requests).decode()
    assert json.dumps(row.problem_statement, ensure_ascii=False)[1:-1] in sent
    assert not [word for word in words if word in sent]


async def test_the_manifest_names_the_set_its_version_and_the_hashes_of_both_texts() -> None:
    prompts = load_prompts("qwen")
    backend = ChatBackend(BackendDescription(base_url="http://127.0.0.1:9/v1", model="m", dialect="generic"))
    agent = ModelAgent(backend, "bash", prompts, LimitsDescription(), None)
    dataset = Dataset("rows.json", None, [Row.model_validate(real_rows()[0])])
    manifest = make_manifest("run", "swebench", dataset, agent, 1, SandboxOptions())
    await backend.close()
    assert (manifest.agent.prompt, manifest.agent.prompt_version) == ("qwen", 1)
    assert manifest.agent.system_prompt_sha256 == text_sha256(prompts.system)
    assert manifest.agent.task_prompt_sha256 == text_sha256(prompts.task)
    renamed = manifest.model_copy(update={"agent": manifest.agent.model_copy(update={"prompt_version": 2})})
    assert renamed.sha256() != manifest.sha256()
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest


def test_a_manifest_without_these_fields_is_read() -> None:
    older = AgentDescription.model_validate_json('{"name": "default", "task_prompt": "{problem_statement}"}')
    assert (older.prompt, older.prompt_version) == (None, None)
