"""A task of SWE-bench Pro of our own: its files are in `tests/data/pro_task`, and its image is made from them here."""

import asyncio
import io
import json
import secrets
import tarfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from docker import DockerClient
from real_things import GitRepository, clean_environment

from evals.janitor import Janitor
from evals.swebench.dataset import ProRow
from evals.swebench.judgement import Judgement
from evals.swebench.pro_hardened import ProHardenedVerifier
from evals.swebench.pro_scripts import ProFiles, ProScripts, read_folder
from evals.swebench.pro_verifier import ProVerifier
from evals.swebench.verifier import VerifierContainers
from evals.swebench.verifier_settings import VerifierSettings
from runners.docker_engine import RUN_LABEL

FOLDER = Path(__file__).parents[1] / "data" / "pro_task"
BASE = "unbroken/base:1"
GOLD_REFERENCE = "refs/remotes/origin/main"


def row_file() -> dict[str, Any]:
    return json.loads((FOLDER / "row.json").read_text("utf-8"))


def built_repository(folder: Path) -> GitRepository:
    """The repository, at its base commit; the solution's is where a clone has it."""
    row = row_file()
    who = {"NAME": "Ada", "EMAIL": "ada@example.org", "DATE": "2024-05-01T10:00:00+00:00"}
    stated = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
    folder.mkdir(parents=True)
    repository = GitRepository(folder, clean_environment(folder.parent, **stated))
    repository.git("init", "--quiet", "--template=", "--initial-branch=main")
    repository.git("apply", "--index", str(FOLDER / "repository.patch"))
    repository.git("commit", "--quiet", "--message", "Quote texts")
    assert repository.git("rev-parse", "HEAD").strip() == row["base_commit"]
    for patch in ("patch", "test_patch"):
        file = folder.parent / "part.patch"
        file.write_text(row[patch], "utf-8")
        repository.git("apply", "--index", str(file))
    repository.git("commit", "--quiet", "--message", "Quote marks within texts")
    assert repository.git("rev-parse", "HEAD").strip() in row["instance_id"]
    repository.git("update-ref", GOLD_REFERENCE, "HEAD")
    repository.git("reset", "--quiet", "--hard", row["base_commit"])
    return repository


@contextmanager
def built_image(client: DockerClient, folder: Path) -> Generator[str]:
    """An image as the published ones are: the repository in /app, `python`, and bash as the entrypoint."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as members:
        members.add(built_repository(folder / "app").path, "app", filter=_of_root)
        python = tarfile.TarInfo("usr/local/bin/python")
        python.type, python.linkname = tarfile.SYMTYPE, "/usr/bin/python3"
        members.addfile(python)
    container: Any = client.containers.create(BASE, working_dir="/app", network_mode="none")
    repository = f"test-{secrets.token_hex(4)}"
    try:
        container.put_archive("/", archive.getvalue())
        container.commit(repository, "1", changes='ENTRYPOINT ["/bin/bash"]')
    finally:
        container.remove(force=True)
    try:
        yield f"{repository}:1"
    finally:
        api: Any = client.api
        api.remove_image(f"{repository}:1", force=True)


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


@dataclass(frozen=True)
class Found:
    """What both verifiers say of one patch, and what they left."""

    official: Judgement
    hardened: Judgement
    files: Path

    @property
    def resolved(self) -> tuple[bool, bool]:
        return self.official.resolved, self.hardened.resolved


@dataclass(frozen=True)
class ProTask:
    """The task, ready to be judged."""

    client: DockerClient
    row: ProRow
    scripts: ProScripts
    timeout: float = 120.0

    @property
    def name(self) -> str:
        return self.row.instance_id

    def changed(self, columns: Mapping[str, object] | None = None, **files: str) -> "ProTask":
        """The same with other columns in its row, or other files."""
        row = self.row.model_copy(update=dict(columns or {}))
        task: ProFiles = replace(self.scripts.tasks[self.name], **files)
        return replace(self, row=row, scripts=ProScripts("changed", {self.name: task}))

    async def judge(self, patch: str | bytes, folder: Path, *, anything: bool = False) -> Found:
        """What both say; no container is left."""
        janitor, run = Janitor(), f"test-pro-{secrets.token_hex(4)}"
        containers = VerifierContainers(
            self.client, janitor, run, VerifierSettings(network="none", timeout=self.timeout)
        )
        judgements: list[Judgement] = []
        content = patch.encode() if isinstance(patch, str) else patch
        try:
            for verifier in (
                ProVerifier(containers, self.scripts),
                ProHardenedVerifier(containers, self.scripts),
            ):
                judge = verifier.judge_anything if anything else verifier.judge
                judgement = await asyncio.wait_for(judge(self.row, content, folder / verifier.name), 200)
                judgements.append(judgement)
        finally:
            assert await janitor.finish() == []
        assert self.client.containers.list(all=True, filters={"label": f"{RUN_LABEL}={run}"}) == []
        return Found(*judgements, files=folder)


def load_task(client: DockerClient, image: str) -> ProTask:
    row = ProRow.model_validate(row_file() | {"image": image})
    return ProTask(client, row, read_folder(FOLDER, [row.instance_id]))
