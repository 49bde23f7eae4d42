"""A run or a trial as named sentences, the same in the terminal and in the report."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from results import wording
from results.records.audit import Finding
from results.records.doctor import TOOL_TURNS, USER_MESSAGE
from results.records.events import BackendDescription
from results.records.manifest import LimitsDescription, Manifest, SessionRecord
from results.records.outcome import TryEnd
from results.records.usage import Prices
from results.records.verdict import TestGroup, Verdict
from results.score import TrialResult
from results.summary import RunDetails, TrialDetails, TryDetails, cost_words, verdict_words
from results.visible_text import one_line

SCRIPTED_NOTICE = "scripted: it plays back what a file says, so this score says nothing about any model"
_SHOWN_TESTS = 50
_SHOWN_FINDINGS = 20

Fact = tuple[str, str]


def run_facts(details: RunDetails) -> list[Fact]:
    """What a run was, what it came to, and what it took."""
    of = details.summary.score
    facts = [("run", details.summary.run_id), ("folder", details.summary.path)]
    facts += _manifest_facts(details.manifest, details.manifest_sha256)
    facts.append(("started", _starts(details.sessions)))
    facts += _doctor(details.sessions)
    facts += [
        ("resolved", f"{wording.resolved(of)}, 95% interval {wording.interval(of.interval)} (Wilson)"),
        *_hardened(details),
        *_flagged(details.trials),
        ("open", f"{of.open} of {len(details.trials)} trials"),
        ("errors", wording.errors(of)),
    ]
    facts += _broken_environments(details)
    if of.judged_errors:
        facts.append(("", f"{of.judged_errors} more ended in an error, but were judged, and are counted"))
    if details.manifest.backend:
        facts += [("tokens", wording.tokens(of.usage)), ("cost", cost_words(details.summary))]
        facts.append(("noticed", one_line(wording.counts(of.counts), 2_000)))
    return [*facts, ("time", wording.time_split(of.time))]


def trial_facts(details: TrialDetails, manifest: Manifest) -> list[Fact]:
    """How a trial ended, why, and where its files lie."""
    result = details.result
    facts = [("task", one_line(result.task_id)), ("attempt", str(result.attempt)), ("folder", details.path)]
    facts += outcome_facts(result, manifest)
    for one in details.tries:
        facts.append((f"try {one.number}", _try_sentence(one.end)))
        facts += [("", path) for path in _files(one)]
    for verdict in details.verdicts:
        facts.append((f"verdict {verdict.number}", f"try {verdict.try_number} {_verdict_sentence(verdict)}"))
    if error := _last_error(details.tries):
        facts.append(("last error", error))
    return facts


def outcome_facts(result: TrialResult, manifest: Manifest) -> list[Fact]:
    """The three facts about the end of a trial, and what it took."""
    facts = [("exit", result.exit or wording.NONE), ("error", result.error or "none")]
    if result.detail:
        facts.append(("detail", one_line(result.detail, 2_000)))
    facts.append(("verdict", _verdict_sentence(result.verdict) if result.verdict else verdict_words(result)))
    if result.hardened:
        facts.append(("hardened", _verdict_sentence(result.hardened)))
        facts += [("", one_line(flag, 500)) for flag in result.hardened.flags[:_SHOWN_TESTS]]
    facts += _flags(result.findings)
    if result.verdict:
        facts += _failing_tests(result.verdict)
    if not result.tries:
        return facts
    facts.append(("steps", str(result.steps)))
    if manifest.backend:
        cost = wording.cost(result.cost, manifest.prices, result.usage, result.time.model)
        facts += [("tokens", wording.tokens(result.usage)), ("cost", cost)]
        facts.append(("noticed", one_line(wording.counts(result.counts), 2_000)))
    return [*facts, ("time", wording.time_split(result.time))]


def _flags(findings: Sequence[Finding]) -> Iterator[Fact]:
    """What looks like a leak or like cheating, and the line of the trajectory where it stands."""
    title = "flagged"
    for finding in findings[:_SHOWN_FINDINGS]:
        where = f"trajectory.jsonl line {finding.line}, step {finding.step}"
        yield title, one_line(f"{finding.rule}: {finding.meaning} ({where}): {finding.excerpt}", 500)
        title = ""
    if (more := len(findings) - _SHOWN_FINDINGS) > 0:
        yield "", f"{more} more (`evals audit` shows them)"


def _hardened(details: RunDetails) -> Iterator[Fact]:
    """The score that tricks do not get past, and every trial that is resolved without it."""
    if (of := details.summary.hardened) is None:
        return
    yield "hardened", f"{wording.resolved(of)}, 95% interval {wording.interval(of.interval)} (Wilson)"
    for trial in details.trials:
        if trial.resolved_officially_alone and trial.hardened:
            why = trial.hardened.detail or f"not all of its tests pass ({trial.hardened.status.replace('_', ' ')})"
            yield "", one_line(f"resolved officially alone: {_name(trial)}: {why}", 1_000)


def _broken_environments(details: RunDetails) -> Iterator[Fact]:
    """What is no fault of the work, and counts against it all the same."""
    if not details.summary.score.broken_environments:
        return
    yield "environment", wording.broken_environments(details.summary.score)
    for trial in details.trials:
        if trial.broken_environment:
            yield "", one_line(f"{_name(trial)}: {trial.broken_environment}", 500)


def _flagged(trials: Sequence[TrialResult]) -> Iterator[Fact]:
    title = "flagged"
    for trial in trials:
        if trial.flags:
            yield title, one_line(f"{_name(trial)}: {', '.join(trial.flags)} (`evals audit` shows where)", 500)
            title = ""


def _name(trial: TrialResult) -> str:
    return trial.task_id + (f", attempt {trial.attempt}" if trial.attempt > 1 else "")


def _manifest_facts(manifest: Manifest, sha256: str) -> Iterator[Fact]:
    benchmark = manifest.benchmark
    revision = f", revision {benchmark.revision}" if benchmark.revision else ""
    size = f"{_number(len(benchmark.task_ids), 'task')}, {_number(manifest.attempts, 'attempt')} each"
    yield "benchmark", one_line(f"{benchmark.name} from {benchmark.source}{revision}: {size}")
    agent = manifest.agent
    yield "agent", one_line(agent.name + (f", toolset {agent.toolset}" if agent.toolset else ""))
    if agent.command is not None:
        yield "", one_line(f"it runs in the container: {agent.command}", 500)
    if agent.install is not None:
        yield "", one_line(f"and is installed there with: {agent.install}", 500)
    yield "backend", _backend(manifest.backend)
    if manifest.backend:
        yield from _backend_facts(manifest.backend, manifest.prices)
    yield "limits", _limits(manifest.limits)
    yield "verifiers", one_line(_pairs(manifest.verifiers) or "none")
    yield "manifest", f"{sha256[:16]}, format {manifest.format}, harness {one_line(manifest.harness_version)}"


def _backend(backend: BackendDescription | None) -> str:
    if backend is None:
        return wording.backend(backend)
    window = f", context {backend.context_window:,}" if backend.context_window else ""
    return one_line(f"{wording.backend(backend)} at {backend.base_url}, dialect {backend.dialect}{window}")


def _backend_facts(backend: BackendDescription, prices: Prices | None) -> Iterator[Fact]:
    if backend.scripted:
        yield "", SCRIPTED_NOTICE
    served = {
        "server": backend.server,
        "weights": backend.weights,
        "quantisation": backend.quantisation,
        "KV cache": backend.kv_cache,
        "speculative decoding": backend.speculative,
        "hardware": backend.hardware,
    }
    yield "served", one_line(_pairs({name: value or wording.UNKNOWN for name, value in served.items()}), 1_000)
    chosen = {"preset": backend.preset, "profile": backend.profile, "mode": backend.mode}
    if named := {name: value for name, value in chosen.items() if value is not None}:
        yield "setting", one_line(_pairs(named))
    if backend.sampling:
        yield "sampling", one_line(_pairs(backend.sampling), 500)
    if backend.unsent:
        yield "", one_line(f"asked for and not sent, since this server refuses it: {', '.join(backend.unsent)}", 500)
    yield from _origins(backend.stated)
    yield "prices", one_line(wording.prices(prices), 500)


def _origins(stated: Mapping[str, str]) -> Iterator[Fact]:
    """Where each setting comes from, those of one origin together."""
    together: dict[str, list[str]] = {}
    for name, origin in stated.items():
        together.setdefault(origin, []).append(name)
    title = "origins"
    for origin, names in together.items():
        yield title, one_line(f"{', '.join(names)}: {origin}", 500)
        title = ""


def _doctor(sessions: Sequence[SessionRecord]) -> Iterator[Fact]:
    """What was known of thinking when the run was last started with a look at it."""
    looked = [session for session in sessions if session.doctor is not None]
    for session in looked[-1:]:
        assert session.doctor is not None
        titles = {TOOL_TURNS: "over tool turns", USER_MESSAGE: "over a new user message"}
        found = {title: session.doctor.finding(check) for check, title in titles.items()}
        answers = [f"{title} {finding.answer}" for title, finding in found.items() if finding]
        yield "thinking", one_line(", ".join(answers) or wording.UNKNOWN)
    if any(session.allow_lost_thinking and session.doctor and session.doctor.lost for session in sessions):
        yield "", "started although the backend loses thinking that it needs (--allow-lost-thinking)"


def _limits(limits: LimitsDescription) -> str:
    stated = {
        "steps": None if limits.steps is None else f"{limits.steps:,}",
        "tokens": None if limits.tokens is None else f"{limits.tokens:,}",
        "time": None if limits.seconds is None else wording.duration(limits.seconds),
        "cost": None if limits.cost is None else wording.dollars(limits.cost),
        "thinking in one turn": None if limits.thinking_tokens is None else f"{limits.thinking_tokens:,} tokens",
    }
    said = [f"{name} {value}" for name, value in stated.items() if value is not None]
    return ", ".join(said or ["none"]) + (", a full context is compacted" if limits.on_context == "compact" else "")


def _starts(sessions: list[SessionRecord]) -> str:
    if not sessions:
        return wording.UNKNOWN
    more = f", {len(sessions)} starts" if len(sessions) > 1 else ""
    return f"{wording.moment(sessions[0].started)} on {one_line(sessions[0].machine)}{more}"


def _try_sentence(end: TryEnd | None) -> str:
    if end is None:
        return "running, or killed"
    outcome = end.outcome
    error = f", error {outcome.error}" if outcome.error else ""
    return f"exit {outcome.exit}{error}, {_number(outcome.steps, 'step')}, {wording.duration(end.ended - end.started)}"


def _verdict_sentence(verdict: Verdict) -> str:
    said = ["resolved" if verdict.resolved else "not resolved", f"by {verdict.verifier} ({verdict.verifier_version})"]
    if verdict.status != "graded":
        said.append(f"because {verdict.status.replace('_', ' ')}")
    groups = {"fail-to-pass": verdict.fail_to_pass, "pass-to-pass": verdict.pass_to_pass}
    counts = ", ".join(f"{name} {_passed(group)}" for name, group in groups.items() if group.passed or group.failed)
    said += [counts] if counts else []
    if verdict.script_seconds is not None:
        whole = verdict.ended - verdict.started
        said.append(f"{wording.duration(whole)}, of which its tests {wording.duration(verdict.script_seconds)}")
    return one_line(", ".join(said) + (f": {verdict.detail}" if verdict.detail else ""), 500)


def _failing_tests(verdict: Verdict) -> Iterator[Fact]:
    failed = [*verdict.fail_to_pass.failed, *verdict.pass_to_pass.failed]
    name = "failing tests"
    for test in failed[:_SHOWN_TESTS]:
        yield name, one_line(test)
        name = ""
    if len(failed) > _SHOWN_TESTS:
        yield name, f"and {len(failed) - _SHOWN_TESTS} more"


def _last_error(tries: Iterable[TryDetails]) -> str | None:
    ends = [one.end for one in tries if one.end is not None and one.end.outcome.error is not None]
    return f"try {ends[-1].number}: {one_line(ends[-1].outcome.detail or wording.UNKNOWN, 2_000)}" if ends else None


def _files(one: TryDetails) -> list[str]:
    paths = [Path(one.path) / name for name in ("trajectory.jsonl", "patch.diff")]
    return [str(path) for path in paths if path.exists()]


def _passed(group: TestGroup) -> str:
    return f"{len(group.passed)}/{len(group.passed) + len(group.failed)}"


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
