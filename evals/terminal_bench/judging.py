"""Runs a task's tests for each verifier, and says what they found.

The tests run where the agent worked, unless the task says otherwise. In a container of their own (a separate verifier)
they find the artifacts that were collected, and nothing else of the agent's.
"""

import dataclasses
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from evals.janitor import Janitor
from evals.terminal_bench.artifacts import Collected, hand_over
from evals.terminal_bench.changed_programs import changed_programs, changes_between, flags, names_in
from evals.terminal_bench.environment import TaskContainers, bring, image_settings, wait_until_healthy
from evals.terminal_bench.image import TaskImages, agent_image, verifier_image
from evals.terminal_bench.part import Part, together
from evals.terminal_bench.reward import NoRewardError, Rewards, read_rewards, single
from evals.terminal_bench.snapshot import snapshot
from evals.terminal_bench.task_directory import TaskDirectory
from evals.terminal_bench.trial_container import TrialContainer
from evals.terminal_bench.variables import filled
from evals.terminal_bench.verifier_failures import setup_failure
from evals.terminal_bench.verifier_place import OpenPlace
from evals.terminal_bench.verifier_run import VerifierAnswer, VerifierCall, run_verifier
from results.records.verdict import StepVerdict, VerdictStatus
from runners.docker_sandbox import ContainerSettings, DockerSandbox
from runners.owner import temporary_folder
from runners.private_room import PrivateRoom
from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import DockerClient

RULES = "1"
"""Counted up when the same container could be judged otherwise."""
OFFICIAL, QUIESCED = "official", "quiesced"
VERIFIERS: Mapping[str, str] = {OFFICIAL: RULES, QUIESCED: RULES}
"""`official`: in the agent's container, with what it left running. `quiesced`: on its files alone, in a fresh one."""


class SetupFailedError(Exception):
    """Tests that could not be set up; the message says why."""


@dataclass(frozen=True)
class Workplace:
    """The container in which an agent worked, as it left it."""

    container: TrialContainer
    room: PrivateRoom | None
    no_room: str
    """Why there is no private room."""
    collected: Sequence[Collected]
    artifacts: Path
    """The folder in which these lie."""


@dataclass(frozen=True)
class Finding:
    """What tests said, before it becomes a numbered verdict."""

    status: VerdictStatus
    detail: str
    rewards: Rewards = field(default_factory=Rewards)
    flags: Sequence[str] = ()

    @property
    def reward(self) -> float:
        """One number."""
        return single(self.rewards) if self.rewards else 0.0

    is_whole: bool = True
    """Whether every part of the task was judged."""

    @property
    def resolved(self) -> bool:
        """Whether every reward was earned whole, in every part."""
        return self.is_whole and self.status == "graded" and min(self.rewards.values(), default=0) >= 1


@dataclass(frozen=True)
class _Place:
    """Where tests are run: in a room, or in view of everything in the container."""

    sandbox: DockerSandbox
    settings: ContainerSettings
    room: PrivateRoom | None = None
    flags: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    """What is set for the tests because of the network."""
    brings_tests: bool = False


@dataclass(frozen=True)
class Judging:
    """Judges what agents leave."""

    client: "DockerClient"
    janitor: Janitor
    images: TaskImages
    containers: TaskContainers
    verifiers: Sequence[str]
    """Their names, in the order in which they judge."""

    @asynccontextmanager
    async def prepared(self, task: TaskDirectory, part: Part, work: Workplace) -> AsyncGenerator["Examination"]:
        """Ready to judge: what the tests could change is kept aside before the first of them. Raises SandboxError."""
        async with AsyncExitStack() as stack:
            image, has_lost_room = None, work.room is not None and not await work.room.is_open()
            if part.verifier.mode == "shared" and (QUIESCED in self.verifiers or has_lost_room):
                image = await stack.enter_async_context(snapshot(self.client, work.container.sandbox.container_id))
            yield Examination(self, task, part, work, image, has_lost_room)


@dataclass(frozen=True)
class Examination:
    """The judging of one work."""

    judging: Judging
    task: TaskDirectory
    part: Part
    work: Workplace
    image: str | None
    """Of its files, where a verifier needs that."""
    has_lost_room: bool
    """Somebody has ended the room before the tests could begin."""

    async def judge(self, verifier: str, files: Path) -> Finding:
        """Run the tests for a verifier, and leave in `files` what they wrote. Raises SandboxError, SetupFailedError."""
        async with self._place(verifier) as place:
            try:
                answer = await self._run_tests(place, files)
            except SandboxError as error:
                reason, finding = str(error), Finding("no_results", "", flags=place.flags)
            else:
                told = [*_changed_programs(place, answer), *place.flags]
                finding = finding_of(answer, self._timeout, told)
                reason = "" if finding.reward or self._is_without_services(verifier) else setup_failure(files)
        if not reason:
            return finding
        if self.part.verifier.mode == "separate" or not await self._can_be_set_up_afresh():
            raise SetupFailedError(reason)
        detail = f"in a fresh container the tests can be set up, and in the agent's they could not: {reason}"
        return Finding("no_results", detail, flags=finding.flags)

    @property
    def _settings(self) -> ContainerSettings:
        """Of a container in which nobody has worked."""
        return self.work.container.settings_for_tests(self.part)

    def _is_without_services(self, verifier: str) -> bool:
        """Whether tests may fail to reach the task's other containers, since main's files stand alone."""
        return verifier == QUIESCED and self.work.container.project is not None

    @property
    def _timeout(self) -> float:
        return self.part.verifier.timeout_sec * self.judging.containers.limits.timeout_multiplier

    @asynccontextmanager
    async def _place(self, verifier: str) -> AsyncGenerator[_Place]:
        work = self.work
        if self.part.verifier.mode == "separate":
            async with self._separate() as place:
                yield place
        elif verifier == QUIESCED or self.has_lost_room:
            async with self._on_files() as place:
                yield place if verifier == QUIESCED else dataclasses.replace(place, flags=["room:ended"])
        else:
            flags, container = await self._unprotected(), work.container
            try:
                variables = await container.for_tests(self.part)
            except SandboxError as error:
                message = f"the tests cannot have their network: {error}"
                raise SetupFailedError(message) from error
            yield _Place(container.sandbox, container.settings, work.room, flags, variables)

    async def _unprotected(self) -> list[str]:
        """Flags for a container without a room."""
        if self.work.room:
            return []
        changed = await changed_programs(self.judging.client, self.work.container.sandbox.container_id)
        return [*changed, f"unprotected: {self.work.no_room}"]

    @asynccontextmanager
    async def _on_files(self) -> AsyncGenerator[_Place]:
        assert self.image is not None
        settings = dataclasses.replace(self._settings, image=self.image, profile="")
        sandbox = await DockerSandbox.start(self.judging.client, settings)
        try:
            yield _Place(sandbox, settings)
        finally:
            await sandbox.close()  # before its image goes

    @asynccontextmanager
    async def _separate(self) -> AsyncGenerator[_Place]:
        verifier = self.part.verifier
        recipe = verifier_image(self.task, verifier, self.part.tests)
        table = verifier.environment or self.task.file.environment
        await self.judging.images.obtain(recipe)
        containers, trial = self.judging.containers, self.work.container.plain.trial
        plain = await containers.plain_settings(table, recipe.name, trial, user=None, unattended=False)
        network = await containers.networks.of(containers.limits.options(table, verifier))
        settings = network.container(plain)
        sandbox = await DockerSandbox.start(self.judging.client, settings)
        try:
            if recipe == agent_image(self.task) and self.task.files_beside_image:
                await bring(self.task.files_beside_image, sandbox)
            if table.healthcheck:
                await wait_until_healthy(sandbox, table.healthcheck)
            await hand_over(self.work.collected, self.work.artifacts, sandbox)
            yield _Place(sandbox, settings, brings_tests=recipe.bakes_tests)
        finally:
            self.judging.janitor.close(sandbox)

    async def _can_be_set_up_afresh(self) -> bool:
        """Whether the tests can be set up in a container in which nobody has worked: then it was the agent's doing."""
        sandbox = await DockerSandbox.start(self.judging.client, self._settings)
        try:
            if self.task.files_beside_image:
                await bring(self.task.files_beside_image, sandbox)
            with temporary_folder() as folder:
                await self._run_tests(_Place(sandbox, self._settings), folder)
                return not setup_failure(folder)
        except SandboxError:
            return False
        finally:
            self.judging.janitor.close(sandbox)

    async def _run_tests(self, place: _Place, files: Path) -> VerifierAnswer:
        verifier = self.part.verifier
        call = VerifierCall(
            task=self.task.path,
            folders=[] if place.brings_tests else self.part.tests,
            directory=place.settings.directory,
            environment={
                **filled(verifier.env, self.judging.containers.variables, "[verifier].env"),
                **place.variables,
            },
            timeout=self._timeout,
            user=await self._user(place),
            in_room=place.room is not None,
        )
        if place.room:
            return await run_verifier(place.room, call, files)
        channel = await OpenPlace.open(self.judging.client, place.sandbox.container_id)
        try:
            return await run_verifier(channel, call, files)
        finally:
            await channel.close()

    async def _user(self, place: _Place) -> str:
        """Who runs the tests: the one whom the task names, else the one whom the image does."""
        if self.part.verifier.user is not None:
            return str(self.part.verifier.user)
        # The image of an agent's files has the user as whom the agent worked.
        is_separate = self.part.verifier.mode == "separate"
        image = (place if is_separate else self.work.container).settings.image
        return (await image_settings(self.judging.client, image)).user


def _changed_programs(place: _Place, answer: VerifierAnswer) -> list[str]:
    if place.room is None or answer.programs is None:
        return []
    before = place.room.first_words
    return flags(changes_between(before, answer.programs), names_in(before))


def finding_of(answer: VerifierAnswer, timeout: float, told: Sequence[str]) -> Finding:
    """What an answer of tests means: without a reward that can be read, none was earned."""
    if answer.timed_out:
        return Finding("timed_out", f"the tests did not end within {timeout:g} seconds", flags=told)
    ended = f"test.sh ended with {answer.exit_code}" if answer.exit_code else ""
    if answer.exit_code is None:
        ended = "the tests were ended by somebody else in the container"
    try:
        return Finding("graded", ended, read_rewards(answer.rewards), told)
    except NoRewardError as error:
        return Finding("no_results", f"{error}{f'; {ended}' if ended else ''}", flags=told)


def step_verdicts(findings: Mapping[str, Finding]) -> list[StepVerdict]:
    """The findings on the steps of a task, for its verdict; none for a task without steps."""
    return [
        StepVerdict(
            name=name, status=each.status, reward=each.reward, rewards=each.rewards, detail=each.detail,
            flags=list(each.flags),
        )
        for name, each in findings.items() if name
    ]  # fmt: skip


def as_one(findings: Mapping[str, Finding], *, only_last: bool, is_whole: bool) -> Finding:
    """What the findings on the parts of a task mean together.

    The mean is over those parts that have a reward, as in Harbor 0.25.0; with `only_last`, the last that was begun
    counts. But only who passes all has resolved the task.
    """
    if len(findings) == 1 and "" in findings:
        return findings[""]
    earned = {name: each.rewards for name, each in findings.items() if each.rewards or only_last}
    rewards = together(earned, only_last=only_last)
    told = [f"{name}: {each.reward:g}{f' ({each.detail})' if each.detail else ''}" for name, each in findings.items()]
    ungraded: list[VerdictStatus] = [each.status for each in findings.values() if each.status != "graded"]
    status: VerdictStatus = ungraded[0] if ungraded else "graded"
    flagged = dict.fromkeys(flag for each in findings.values() for flag in each.flags)
    return Finding(status, "; ".join(told), rewards, list(flagged), is_whole)
