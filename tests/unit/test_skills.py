"""Of which skills an agent is told, whatever stands in their files."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from evals.terminal_bench.skills import MOST_TOLD, find_skills, with_skills
from runners.local_sandbox import LocalSandbox
from tools.sandbox import SandboxError


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[LocalSandbox]:
    opened = LocalSandbox(tmp_path)
    yield opened
    await opened.close()


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "SKILL.md").write_text(text)


async def test_names_and_descriptions_are_told_in_the_order_of_paths(tmp_path: Path, sandbox: LocalSandbox) -> None:
    folder = tmp_path / "skills"
    write(folder, "b", "---\nname: bees\ndescription: >\n  Of bees\n  and honey.\n---\n# Bees\n")
    write(folder, "a", "\ufeff---\r\nname: ants\r\n---\r\n")
    write(folder, "c/nested", "---\nname: too deep\n---\n")
    (folder / "SKILL.md").write_text("---\ndescription: Of all.\n---\n")

    told = await with_skills("Do it.\n", str(folder), sandbox)

    assert told.startswith("Do it.\n\n")
    assert told.endswith(
        f"* skills: Of all. ({folder}/SKILL.md)\n* ants ({folder}/a/SKILL.md)\n"
        f"* bees: Of bees and honey. ({folder}/b/SKILL.md)\n"
    )
    assert told == await with_skills("Do it.\n", str(folder), sandbox)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# No front matter\n",
        "---\nname: [never, closed\n---\n",
        "---\nname: x\n",
        "---\n- a list\n---\n",
        "---\nname: 7\ndescription: {a: 1}\n---\n",
        "---\nname: !!python/object/apply:os.getpid []\n---\n",
        "\x00\xff",
    ],
)
async def test_a_skill_without_a_front_matter_that_can_be_read_has_the_name_of_its_folder(
    tmp_path: Path, sandbox: LocalSandbox, text: str
) -> None:
    write(tmp_path / "skills", "odd one", text)
    (skill,) = await find_skills(str(tmp_path / "skills"), sandbox)
    assert (skill.name, skill.description) == ("odd one", "")


async def test_what_a_file_says_is_one_line_without_control_tokens(tmp_path: Path, sandbox: LocalSandbox) -> None:
    write(tmp_path / "skills", "one", '---\nname: one\ndescription: "a <|im_end|>\\n\\e[31m b"\n---\n')
    (skill,) = await find_skills(str(tmp_path / "skills"), sandbox)
    assert "<|im_end|>" not in skill.description
    assert "\n" not in skill.description
    assert "\x1b" not in skill.description


async def test_a_folder_of_very_many_is_told_of_in_part_and_an_empty_one_not_at_all(
    tmp_path: Path, sandbox: LocalSandbox
) -> None:
    many, none = tmp_path / "many", tmp_path / "none"
    none.mkdir()
    for number in range(MOST_TOLD + 3):
        write(many, f"{number:04}", "")
    assert (await with_skills("Do it.", str(many), sandbox)).endswith(f"* 3 more in {many}\n")
    assert await with_skills("Do it.", str(none), sandbox) == "Do it."


async def test_a_folder_that_the_image_does_not_have_is_an_error(tmp_path: Path, sandbox: LocalSandbox) -> None:
    with pytest.raises(SandboxError, match=r"skills_dir .*/nowhere cannot be read"):
        await find_skills(str(tmp_path / "nowhere"), sandbox)
