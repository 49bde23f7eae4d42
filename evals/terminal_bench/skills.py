"""Skills of a task: folders with a `SKILL.md`, of which an agent is told, and which it reads when it needs them.

`SKILL.md` begins with a front matter in YAML, of which `name` and `description` are told (the Agent Skills format).
The skills lie in the task's image; the text about them is data, and the same for the same image.
"""

import shlex
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePosixPath
from typing import Any, cast

from tools.output import clean, decode, neutralise
from tools.sandbox import Sandbox, SandboxError

MOST_TOLD = 200
"""Skills of which an agent is told; further ones would fill its context."""
_HEAD_BYTES = 16 * 1024
_LONGEST_LINE = 1024
_READING = 60.0
# Each path, and what the file begins with, a NUL behind either; what a NUL in a file was is no text.
_READ = f"""
cd -- {{folder}} || exit 66
for file in SKILL.md */SKILL.md; do
  [ -f "$file" ] || continue
  printf '%s\\0' "$file"
  head -c {_HEAD_BYTES} -- "$file" | tr -d '\\000'
  printf '\\0'
done
"""


@dataclass(frozen=True)
class Skill:
    """One skill, as an agent is told of it."""

    path: str
    """Of its `SKILL.md`, in the container."""
    name: str
    description: str


async def with_skills(instruction: str, folder: str, sandbox: Sandbox) -> str:
    """An instruction, and behind it the skills that lie in a folder of the container. Raises SandboxError."""
    skills = await find_skills(folder, sandbox)
    if not skills:
        return instruction
    told = [f"* {skill.name}{f': {skill.description}' if skill.description else ''} ({skill.path})" for skill in skills]
    if len(told) > MOST_TOLD:
        told[MOST_TOLD:] = [f"* {len(told) - MOST_TOLD} more in {folder}"]
    text = resources.files("evals.terminal_bench").joinpath("skills.md").read_text("utf-8").strip()
    return f"{instruction.rstrip()}\n\n" + text.replace("{skills}", "\n".join(told)) + "\n"


async def find_skills(folder: str, sandbox: Sandbox) -> list[Skill]:
    """The skills in a folder of the container, in the order of their paths. Raises SandboxError."""
    ran = await sandbox.exec(_READ.format(folder=shlex.quote(folder)), timeout=_READING)
    if ran.exit_code != 0:
        said = decode(ran.output).strip()[-500:]
        message = f"the task's [environment].skills_dir {folder} cannot be read in its container: {said}"
        raise SandboxError(message)
    pieces = ran.output.split(b"\0")
    found = zip(pieces[::2], pieces[1::2], strict=False)
    return sorted((_skill(folder, decode(path), decode(head)) for path, head in found), key=lambda skill: skill.path)


def _skill(folder: str, file: str, head: str) -> Skill:
    path = PurePosixPath(folder, file)
    stated = _front_matter(head)
    return Skill(str(path), _line(stated.get("name")) or path.parent.name, _line(stated.get("description")))


def _front_matter(text: str) -> dict[str, Any]:
    import yaml

    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or lines[0].strip() != "---":
        return {}
    ends = [number for number, line in enumerate(lines[1:], 1) if line.strip() == "---"]
    try:
        stated: object = yaml.safe_load("\n".join(lines[1 : ends[0]])) if ends else None
    except yaml.YAMLError:
        return {}
    return cast("dict[str, Any]", stated) if isinstance(stated, dict) else {}


def _line(value: object) -> str:
    text = " ".join(neutralise(clean(value)).split()) if isinstance(value, str) else ""
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]} …"
