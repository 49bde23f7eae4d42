"""Text is text in the patch whatever .gitattributes says, since tools leave binary patches out; the rest is not."""

import shutil
import subprocess
from pathlib import Path

import pytest
from real_things import GitRepository
from workspace_desk import Make, changed, diff_of, files

pytestmark = pytest.mark.usefixtures("git_without_settings")

ATTRIBUTES = ["binary", "-diff", "-text -diff", "diff=odd"]


def plainly_applied(patch: bytes, folder: Path) -> None:
    subprocess.run(["git", "apply", "-"], cwd=folder, input=patch, check=True)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
@pytest.mark.parametrize("where", [".gitattributes", ".git/info/attributes"])
async def test_text_that_attributes_call_binary_is_a_text_patch(
    make_repository: Make, tmp_path: Path, attribute: str, where: str
) -> None:
    repository = make_repository(**{"a.svg": "<svg>\n</svg>\n", "b.py": "1\n"})
    repository.git("config", "diff.odd.binary", "true")
    repository.write(where, f"*.svg {attribute}\n")
    repository.commit()
    twin = tmp_path / "twin"
    shutil.copytree(repository.path, twin, symlinks=True)

    def change(work: GitRepository) -> None:
        work.write("a.svg", "<svg>\n<g/>\n</svg>\n")
        work.write("new.svg", "<svg/>\n")

    patch = await diff_of(repository, change)
    assert b"\n+<g/>\n" in patch
    assert b"\n+<svg/>\n" in patch
    assert b"GIT binary patch" not in patch
    plainly_applied(patch, twin)
    assert files(twin) == files(repository.path)


@pytest.mark.parametrize("attribute", ["diff", "text diff", "!diff"])
async def test_what_is_no_text_is_a_binary_patch_whatever_attributes_say(
    make_repository: Make, tmp_path: Path, attribute: str
) -> None:
    repository = make_repository(**{".gitattributes": f"*.bin {attribute} -text\n"})
    repository.write("a.bin", bytes(range(256)))
    repository.commit()
    twin = tmp_path / "twin"
    shutil.copytree(repository.path, twin, symlinks=True)
    patch = await diff_of(repository, lambda work: work.write("a.bin", bytes(reversed(range(256)))))
    assert b"GIT binary patch" in patch
    assert b"\0" not in patch
    plainly_applied(patch, twin)
    assert files(twin) == files(repository.path)


NAMES = ["late.dat", "a [b]*?.dat", 'quo"ted\\.dat', "two\nlines", "größe", "tab\t", " space ", "deep/in/x"]


async def test_byte_that_no_text_has_is_found_wherever_it_is(repository: GitRepository, tmp_path: Path) -> None:
    """Git itself looks at the first 8,000 bytes."""
    text = b"a line of text\n" * 1000
    for name in NAMES:
        repository.write(name, text)
    repository.write("text", text)
    (repository.path / "link").symlink_to("text")
    repository.commit()
    twin = tmp_path / "twin"
    shutil.copytree(repository.path, twin, symlinks=True)

    def change(work: GitRepository) -> None:
        for name in NAMES:
            work.write(name, text + b"\0\n")
        work.write("text", text + b"diff --git a/x b/x\n")
        (work.path / "link").unlink()
        work.write("link", "a file now\n")

    patch = await diff_of(repository, change)
    assert b"\0" not in patch
    assert patch.count(b"GIT binary patch") == len(NAMES)
    assert b"\n+diff --git a/x b/x\n" in patch
    plainly_applied(patch, twin)
    assert files(twin) == files(repository.path)


async def test_patch_is_the_same_after_a_file_stopped_being_binary(make_repository: Make) -> None:
    repository = make_repository(greeting="hello\n")
    repository.write("data", b"x\n" * 6000 + b"\0")
    repository.commit()
    patch = await diff_of(repository, lambda work: (work.write("data", "text\n"), work.write("greeting", "hallo\n")))
    assert changed(patch) == ["data", "greeting"]
    assert patch.count(b"GIT binary patch") == 1
