"""Grading and validating keep the images of all their tasks, as a run does."""

from pathlib import Path

from docker import DockerClient
from images_desk import as_user, desk

from evals.grade import grade, regrade
from evals.images.leases import Leases
from evals.images.pulled_images import PulledImages
from evals.manifest import make_manifest
from evals.swebench.dataset import Dataset, Row
from evals.swebench.judging import Judging
from evals.swebench.verifier_settings import VerifierSettings
from evals.validate import ValidationSettings, validate
from results.run_directory import RunDirectory, new_run_id
from runners.sandbox_options import SandboxOptions

__all__ = ["as_user", "desk"]

JUDGING = Judging(VerifierSettings("official"))


class Watching:
    """Looks at the leases each time that a task is over."""

    def __init__(self, client: DockerClient) -> None:
        self._leases = Leases.beside(PulledImages.of(client))
        self.seen: list[tuple[str, int]] = []

    def __call__(self, *_: object) -> None:
        self.seen += [(lease.run, len(lease.names)) for lease in self._leases.live()]

    @property
    def is_over(self) -> bool:
        return self._leases.live() == []


def rows(demo_rows: dict[str, Row]) -> list[Row]:
    """Two tasks whose images nobody can have."""
    return [
        row.model_copy(update={"image": f"127.0.0.1:9/nowhere/{name}:1"})
        for name, row in demo_rows.items()
        if name in ("tally", "lapse")
    ]


async def test_grading_and_grading_again_keep_the_images(
    client: DockerClient, as_user: None, demo_rows: dict[str, Row], tmp_path: Path
) -> None:
    wanted = rows(demo_rows)
    manifest = make_manifest(
        new_run_id("test"), "test", Dataset("test", None, wanted), "tool", 1, SandboxOptions(), JUDGING
    )
    run = RunDirectory.create(tmp_path, manifest)
    watching = Watching(client)
    await grade(run, [(row, b"x") for row in wanted], JUDGING, watching, at_once=1, tries=1)
    assert watching.seen == [(manifest.run_id, 2)] * 2
    assert watching.is_over
    await regrade(run, {row.instance_id: row for row in wanted}, JUDGING, watching, at_once=1, tries=1)
    assert watching.seen == [(manifest.run_id, 2)] * 4
    assert watching.is_over


async def test_validating_keeps_the_images(
    client: DockerClient, as_user: None, demo_rows: dict[str, Row], tmp_path: Path
) -> None:
    watching = Watching(client)
    dataset, settings = Dataset("test", None, rows(demo_rows)), ValidationSettings(1, 1, JUDGING)
    await validate(dataset, settings, tmp_path / "progress", watching)
    assert [count for _, count in watching.seen] == [2, 2]
    assert watching.is_over
