"""The report: one file, complete, honest about scripted backends, and inert whatever a trajectory holds."""

import base64
import hashlib
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from results.records.audit import Finding, TraceAudit
from results.records.events import (
    Event,
    MessageEvent,
    Received,
    ResponseEvent,
    ToolCallRecord,
    ToolResultEvent,
)
from results.records.manifest import Group, Manifest
from results.records.outcome import Outcome, TryEnd
from results.records.usage import Usage
from results.report import score_table, write_report
from results.run_directory import RunDirectory, list_groups, write_group
from results.tables import new_console
from results.trajectory import TrajectoryWriter

GOLDEN = Path(__file__).parents[1] / "data" / "golden_run_format_1"
HOSTILE = "</pre></style><script>alert(1)</script><img src=x onerror=alert(2)>&\"'\x1b[31m\x00\u202e\x9b\ud83d"
VOID = {"meta", "rect", "img", "link", "br", "hr", "input", "base"}


class Page(HTMLParser):
    """What a browser makes of the page: its elements, their attributes, its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.style = ""
        self._open: list[str] = []
        self.source = path.read_bytes().decode("utf-8")  # strict: the page is valid UTF-8
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self.text += " " if tag == "td" else ""

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["style"]:
            self.style += data
        else:
            self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "runs"))


@pytest.fixture
def group(runs: Path) -> Group:
    return list_groups(runs).found[0]


@pytest.fixture
def add_run(runs: Path, group: Group) -> Callable[..., Group]:
    """Adds to the golden group a run whose one task was answered with the given events and patch."""

    def add(run_id: str, events: list[Event], patch: bytes = b"", **changes: object) -> Group:
        golden = RunDirectory.open(runs / group.run_ids[0]).manifest
        manifest = Manifest.model_validate(golden.model_dump() | {"run_id": run_id} | changes)
        trial = RunDirectory.create(runs, manifest).trial(manifest.benchmark.task_ids[0], 1)
        started = trial.start_try()
        with TrajectoryWriter(started.trajectory_path) as writer:
            for event in events:
                writer.write(event)
        started.write_patch(patch)
        outcome = Outcome(exit="finished", detail=HOSTILE, steps=1)
        started.write_end(TryEnd(task_id=trial.task_id, attempt=1, number=1, outcome=outcome, started=1.0, ended=2.0))
        whole = group.model_copy(update={"run_ids": [*group.run_ids, run_id]})
        write_group(runs, whole)
        return whole

    return add


def assert_inert(page: Page) -> None:
    """Nothing in the page acts, and nothing comes from elsewhere."""
    forbidden = {"script", "img", "iframe", "object", "embed", "link", "form", "base"}
    assert not forbidden & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert not {"src", "srcset", "style", "action", "data"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("href") or "#").startswith("#")
    assert re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page.source) is None


def test_the_page_is_one_file_that_may_load_and_run_nothing(runs: Path, group: Group):
    path = write_report(runs, group)
    assert path == runs / "groups" / f"{group.group_id}.html"
    page = Page(path)
    assert_inert(page)
    (policy,) = [meta["content"] for meta in page.of("meta") if "http-equiv" in meta]
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert "url(" not in page.style
    assert "@import" not in page.style
    assert "prefers-color-scheme: dark" in page.style


def test_the_page_shows_score_tasks_and_trials(runs: Path, group: Group):
    text = " ".join(Page(write_report(runs, group)).text.split())
    for expected in [
        "Demo: six small tasks",
        "1/2 (50.0%)",
        "9.5–90.5%",
        "52,300",
        "24.0 s, 4.50 s, 1.50 s",
        "between 33.3% (all failed) and 66.7% (all resolved)",
        "tiny__ledger-1 ✓ resolved tiny__ledger-2 ✗ not resolved tiny__slug-3 ! error tiny__slug-4 … open",
        "the container no longer answers",
        "+ return sum(entries)",
        "total() forgets the first entry.",
        "The slice skips one — cut it.",
        "sed -i s/entries.1:./entries/ ledger.py",
        "prompt 1,000 (cached 800, 80.0%), output 80 (reasoning 50)",
        "<b>Fixed</b>.",
    ]:
        assert expected in text


def test_what_is_flagged_or_resolved_officially_alone_says_so_with_the_line(runs: Path, group: Group):
    run = RunDirectory.open(runs / group.run_ids[0])
    trial = next(trial for trial in run.trials() if trial.task_id == "tiny__ledger-1")
    judged = trial.verdicts()[-1]
    doubt = {"verifier": "hardened", "resolved": False, "reward": 0.0, "detail": "the runner has no end"}
    trial.append_verdict(judged.model_copy(update={"number": trial.next_verdict_number(), **doubt}))
    finding = Finding(
        rule="git-history", severity="leak", meaning="it looks for the fix", line=7, step=3, tool="bash",
        excerpt="git log --all <b>", success="succeeded",
    )  # fmt: skip
    last = trial.tries()[-1]
    last.write_audit(TraceAudit(auditor=1, calls=1, findings=[finding, finding.model_copy(update={"line": 9})]))
    text = " ".join(Page(write_report(runs, group)).text.split())
    assert "tiny__ledger-1 ✓ resolved officially alone flagged tiny__ledger-2 ✗ not resolved tiny__slug-3" in text
    assert "git-history: it looks for the fix (trajectory.jsonl line 7, step 3): git log --all <b>" in text
    assert "line 9, step 3" in text
    assert "the runner has no end" in text


def test_the_bar_of_the_interval_is_where_the_figures_are(runs: Path, group: Group):
    bars = {rect["class"]: rect for rect in Page(write_report(runs, group)).of("rect")}
    assert float(bars["range"]["x"] or "") == pytest.approx(9.45, abs=0.01)
    assert float(bars["range"]["width"] or "") == pytest.approx(81.09, abs=0.01)
    assert float(bars["rate"]["x"] or "") == 50


def test_thinking_is_folded_and_every_link_leads_somewhere(runs: Path, group: Group):
    page = Page(write_report(runs, group))
    folded = [details for details in page.of("details") if details.get("class") == "thinking"]
    assert len(folded) == 2
    assert not [details for details in page.of("details") if "open" in details]
    targets = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = [attributes["href"] for attributes in page.of("a")]
    assert len(links) == 5
    assert {f"#{target}" for target in targets} == set(links)


def test_scripted_is_said_loudly_and_only_where_it_is_so(runs: Path, group: Group, add_run: Callable[..., Group]):
    text = Page(write_report(runs, group)).text
    assert "Scripted, not a model" in text
    assert "says nothing about any model" in text
    golden = RunDirectory.open(runs / group.run_ids[0]).manifest.backend
    assert golden is not None
    real = golden.model_copy(update={"scripted": False, "model": "real-model", "dialect": "generic"})
    add_run("real", [], backend=real.model_dump())
    alone = group.model_copy(update={"run_ids": ["real"]})
    text = Page(write_report(runs, alone)).text.replace(str(runs), "")
    assert "default on real-model" in text
    assert "scripted" not in text.lower()


def test_a_run_without_a_model_has_no_tokens_rather_than_none(runs: Path, add_run: Callable[..., Group]):
    whole = add_run("gold", [], b"+x", backend=None, agent={"name": "gold"})
    text = " ".join(Page(write_report(runs, whole)).text.split())
    assert "gold 0/0 no interval 4 0 – – – – – –" in text
    assert "None was recorded." in text


def test_hostile_content_stays_text(runs: Path, add_run: Callable[..., Group]):
    call = ToolCallRecord(id="c", name=HOSTILE, arguments=HOSTILE.replace('"', ""))
    received = Received(reasoning=HOSTILE, content=HOSTILE, tool_calls=[call])
    events: list[Event] = [
        MessageEvent(time=1.0, sent={"role": HOSTILE, "content": [{"type": "text", "text": HOSTILE}]}),
        ResponseEvent(time=1.0, step=1, received=received, differences=[HOSTILE], usage=Usage(), seconds=1.0),
        ToolResultEvent(time=1.0, step=1, name=HOSTILE, sent={"content": HOSTILE}, seconds=1.0),
    ]
    named = HOSTILE[:-1]  # without the half pair, which no manifest takes
    benchmark = {"name": named, "source": named, "content_sha256": "", "task_ids": [named, "javascript:alert(1)"]}
    backend = {"base_url": named, "model": named, "dialect": named, "scripted": True}
    patch = b"+" + HOSTILE.encode("utf-8", "surrogatepass") + b"\xff\xfe\n"
    whole = add_run("hostile", events, patch, benchmark=benchmark, backend=backend, agent={"name": named})
    page = Page(write_report(runs, whole.model_copy(update={"title": HOSTILE})))
    assert_inert(page)
    assert page.text.count("<script>alert(1)</script>") >= 10
    assert "␛[31m␀\\u202e\\x9b\ufffd" in page.text


def test_long_text_and_long_lines_are_cut_and_say_so(runs: Path, add_run: Callable[..., Group]):
    wide, tall = "w" * 5_000, "tall\n" * 50_000
    events: list[Event] = [
        MessageEvent(time=1.0, sent={"role": "user", "content": f"start {wide} end"}),
        ToolResultEvent(time=1.0, step=1, name="bash", sent={"content": f"first\n{tall}last"}, seconds=1.0),
    ]
    path = write_report(runs, add_run("long", events, b"+" + b"p" * 1_000_000))
    page = Page(path)
    assert path.stat().st_size < 100_000
    assert re.search(r"start w+ … 4,010 characters left out … w+ end", page.text)
    assert re.search(r"first\n(tall\n)+\w*\n… [\d,]+ characters left out …\n\w*\n(tall\n)+last", page.text)


def test_a_long_conversation_ends_with_a_hint_at_the_file(runs: Path, add_run: Callable[..., Group]):
    result = ToolResultEvent(time=1.0, step=1, name="bash", sent={"content": "x" * 5_000}, seconds=1.0)
    path = write_report(runs, add_run("long", [result] * 2_000))
    assert path.stat().st_size < 3_000_000
    assert "the file has all of it" in Page(path).text


def test_a_trajectory_that_is_cut_or_damaged_is_shown_as_far_as_it_goes(runs: Path, add_run: Callable[..., Group]):
    message = MessageEvent(time=1.0, sent={"role": "user", "content": "still here"})
    path = next((runs / add_run("cut", [message]).run_ids[-1]).rglob("trajectory.jsonl"))
    whole = path.read_bytes()
    for tail, sentence in [(b'{"type"', "ends in the middle of line 2"), (b"{}\n" + whole, "is damaged in line 2")]:
        path.write_bytes(whole + tail)
        text = Page(write_report(runs, list_groups(runs).found[0])).text
        assert "still here" in text
        assert sentence in text


def test_the_terminal_prints_the_same_scores(runs: Path, group: Group, capsys: pytest.CaptureFixture[str]):
    new_console().print(score_table(runs, group))
    header, _, row = [re.split(r" {2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]
    shown = dict(zip(header, row, strict=True))
    assert shown["agent on backend"] == "default on scripted/careful (scripted)"
    assert (shown["resolved"], shown["95% interval"], shown["cached share"]) == ("1/2 (50.0%)", "9.5–90.5%", "3.4%")


def test_a_group_whose_run_is_gone_is_an_error_that_names_it(runs: Path, group: Group):
    shutil.rmtree(runs / group.run_ids[0])
    with pytest.raises(ValueError, match=group.run_ids[0]):
        write_report(runs, group)
