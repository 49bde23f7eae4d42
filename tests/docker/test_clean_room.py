"""No agent finds the fix in the history: everything that came after the base commit is gone."""

from collections.abc import AsyncIterator

import pytest
from docker import DockerClient

from evals.swebench import clean_room
from evals.swebench.dataset import Row
from runners.docker_engine import ImageUnavailableError
from runners.docker_sandbox import ContainerSettings, DockerSandbox
from tools.sandbox import Sandbox

EVERY_OBJECT = "git cat-file --batch-all-objects --batch-check='%(objectname)'"
REACHED = "git rev-list --objects HEAD --tags | cut -d ' ' -f 1"
EVERY_COMMIT = "git cat-file --batch-all-objects --batch-check='%(objecttype) %(objectname)' | sed -n 's/^commit //p'"


@pytest.fixture
def row(demo_rows: dict[str, Row]) -> Row:
    return demo_rows["lapse"]


@pytest.fixture
async def sandbox(client: DockerClient, row: Row) -> AsyncIterator[DockerSandbox]:
    opened = await DockerSandbox.start(client, ContainerSettings(image=row.image, directory="/testbed"))
    yield opened
    await opened.close()


async def lines(sandbox: Sandbox, command: str) -> list[str]:
    result = await sandbox.exec(command, timeout=60)
    assert not result.timed_out, (command, result)
    return result.output.decode().splitlines()


async def test_no_commit_after_the_base_is_left(sandbox: DockerSandbox, row: Row) -> None:
    assert set(await lines(sandbox, EVERY_COMMIT)) > set(await lines(sandbox, "git rev-list HEAD"))  # the fix is there
    await clean_room.clean(sandbox, row.base_commit, row.image)
    assert set(await lines(sandbox, EVERY_COMMIT)) == set(await lines(sandbox, "git rev-list HEAD"))
    assert await lines(sandbox, "git remote; git stash list; git reflog; ls .git | grep _HEAD") == []
    assert await lines(sandbox, "git fsck --unreachable --no-reflogs") == []
    assert await lines(sandbox, "git rev-parse HEAD; git status --porcelain") == [row.base_commit]
    dates = f"{EVERY_COMMIT} | xargs git show -s --no-walk=unsorted --format='%ct %H'"
    dated = [line.split() for line in await lines(sandbox, dates)]
    assert max((int(seconds), name) for seconds, name in dated)[1] == row.base_commit


async def test_the_fix_is_no_object_of_any_kind(sandbox: DockerSandbox, row: Row) -> None:
    fixed = "cat *.py > /tmp/x; echo '# the fix' >> /tmp/x"
    added = "git add -f fix.py; git reset -q; rm fix.py"
    names = await lines(
        sandbox,
        f"{fixed}; git hash-object -w /tmp/x; cp /tmp/x fix.py; echo more >> fix.py; {added};"
        "git rev-list HEAD..main --objects | head -1 | cut -d ' ' -f 1;"
        "git hash-object -t tree -w --stdin </dev/null",
    )
    await clean_room.clean(sandbox, row.base_commit, row.image)
    assert set(await lines(sandbox, EVERY_OBJECT)) == set(await lines(sandbox, REACHED))
    assert not set(names) & set(await lines(sandbox, EVERY_OBJECT))


@pytest.mark.parametrize(
    "hiding_place",
    [
        "git branch future; git checkout -q HEAD~1 2>/dev/null; git checkout -q main",
        "git tag -a v9 -m future",
        "git update-ref refs/notes/future HEAD",
        "git stash push -q 2>/dev/null; true",
        "git worktree add -q /tmp/elsewhere",
        "git bundle create -q .git/x.bundle HEAD 2>/dev/null; rm .git/x.bundle",
        "git clone -q --bare . /tmp/other.git; git remote add other /tmp/other.git; git fetch -q other",
        "git repack -a -d -q; touch $(ls .git/objects/pack/*.pack | sed s/pack$/keep/)",
    ],
)
async def test_no_place_hides_a_later_commit(sandbox: DockerSandbox, row: Row, hiding_place: str) -> None:
    later = (
        "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b;"
        "echo later > later.py; git add later.py; git commit -qm later;"
        f"{hiding_place}; git rev-parse HEAD; git reset -q --hard {row.base_commit}"
    )
    await lines(sandbox, later)
    await clean_room.clean(sandbox, row.base_commit, row.image)
    assert set(await lines(sandbox, EVERY_COMMIT)) == set(await lines(sandbox, "git rev-list HEAD"))
    assert await lines(sandbox, "git fsck --unreachable --no-reflogs | grep -v dangling") == []


async def test_a_repository_that_was_cloned_is_cleaned(sandbox: DockerSandbox, row: Row) -> None:
    await lines(
        sandbox,
        "git clone -q --bare . /tmp/x.git; git remote add -f origin /tmp/x.git; git remote set-head origin main",
    )
    assert "refs/remotes/origin/HEAD" in await lines(sandbox, "git for-each-ref --format='%(refname)'")
    await clean_room.clean(sandbox, row.base_commit, row.image)
    assert await lines(sandbox, "git for-each-ref --format='%(refname)'") == ["refs/heads/main"]


async def test_tags_of_ancestors_stay_for_version_numbers(sandbox: DockerSandbox, row: Row) -> None:
    await lines(sandbox, "git tag v0.9 HEAD~1")
    await clean_room.clean(sandbox, row.base_commit, row.image)
    assert await lines(sandbox, "git describe --tags --abbrev=0") == ["v0.9"]


async def test_an_image_that_is_not_at_the_base_commit_is_refused(sandbox: DockerSandbox, row: Row) -> None:
    with pytest.raises(ImageUnavailableError, match="not at the task's base commit"):
        await clean_room.clean(sandbox, "0" * 40, row.image)
    await lines(sandbox, "git reset -q --hard HEAD~1")
    with pytest.raises(ImageUnavailableError, match=row.image):
        await clean_room.clean(sandbox, row.base_commit, row.image)
