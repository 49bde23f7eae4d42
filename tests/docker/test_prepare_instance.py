"""A synthetic row and repository become an image that satisfies the row's eval_script without a network."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evals.swebench.dataset import Row

ROOT = Path(__file__).parents[2]

# A build backend inside the repository: `pip install -e .` then needs pip and nothing else.
BACKEND = """
import pathlib, zipfile
INFO = "shout-1.dist-info/"
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "shout-1-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as wheel:
        wheel.writestr("shout.pth", str(pathlib.Path("src").resolve()))
        wheel.writestr(INFO + "METADATA", "Metadata-Version: 2.1\\nName: shout\\nVersion: 1\\n")
        wheel.writestr(INFO + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(INFO + "RECORD", "")
    return name
"""
FILES = {
    "backend.py": BACKEND,
    "pyproject.toml": """\
[build-system]
requires = ["not-in-any-index"]
build-backend = "backend"
backend-path = ["."]
""",
    "src/shout.py": "def shout(text):\n    return text\n",
    "tests/test_shout.py": "import shout\ndef test_quiet():\n    assert shout.shout('') == ''\n",
    ".gitignore": "__pycache__\n",
}
EVAL_SCRIPT = """#!/bin/bash
set -uxo pipefail
source /opt/miniconda3/bin/activate
conda activate testbed
cd /testbed
git config --global --add safe.directory /testbed
git status
git -c core.fileMode=false diff BASE
source /opt/miniconda3/bin/activate
conda activate testbed
python -m pip install -e .
git checkout BASE tests/test_shout.py
git apply -v - <<'EOF_1'
diff --git a/tests/test_shout.py b/tests/test_shout.py
--- a/tests/test_shout.py
+++ b/tests/test_shout.py
@@ -1,3 +1,5 @@
 import shout
 def test_quiet():
     assert shout.shout('') == ''
+def test_loud():
+    assert shout.shout('a') == 'A'
EOF_1
: '>>>>> Start Test Output'
python -m pytest -rA tests/test_shout.py
: '>>>>> End Test Output'
git checkout BASE tests/test_shout.py
"""
FIX = "sed -i 's/return text$/return text.upper()/' /testbed/src/shout.py"


@dataclass(frozen=True)
class Prepared:
    image: str
    base: str


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    command = ["git", "-C", str(directory), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def make_repository(folder: Path) -> str:
    """Two tagged commits; returns the first, which is the base commit."""
    git(folder.parent, "init", "-q", "-b", "trunk", str(folder))
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for tag in ("v1", "v2"):
        (folder / "CHANGES").write_text(f"{tag}\n")
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", tag)
        git(folder, "tag", tag)
    return git(folder, "rev-parse", "v1")


def write_row(path: Path, base: str, image: str) -> Path:
    row = dict.fromkeys(Row.model_fields, "") | {"instance_id": "o__p-1", "base_commit": base, "image": image}
    path.write_text(json.dumps(row | {"eval_script": EVAL_SCRIPT.replace("BASE", base)}))
    return path


def bundled_pip(into: Path) -> None:
    """The wheel of pip that this Python brings along, here or where Debian keeps it."""
    import ensurepip

    folders = [Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels")]
    wheel = next(path for folder in folders for path in folder.glob("pip-*.whl"))
    into.mkdir()
    (into / wheel.name).write_bytes(wheel.read_bytes())


def prepare(row: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        str(ROOT / "scripts" / "prepare_instance"),
        "--dataset",
        str(row),
        "--instance",
        "o__p-1",
    ]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    import docker

    client: Any = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, client: Any) -> Iterator[Prepared]:
    folder = tmp_path_factory.mktemp("instance")
    base = make_repository(folder / "source")
    bundled_pip(folder / "wheels")
    image = f"unbroken-test/{uuid.uuid4().hex}:latest"
    row = write_row(folder / "rows.jsonl", base, image)
    sources = ("--git", str(folder / "source"), "--wheels", str(folder / "wheels"))
    outcome = prepare(row, *sources)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.strip() == image
    yield Prepared(image, base)
    client.images.remove(image, force=True)


def run(client: Any, image: str, *command: str) -> str:
    output: bytes = client.containers.run(image, list(command), network_mode="none", remove=True, stderr=True)
    return output.decode()


def evaluate(client: Any, prepared: Prepared, first: str) -> str:
    script = f"{first}\ncat > /eval.sh <<'END_OF_SCRIPT'\n{EVAL_SCRIPT.replace('BASE', prepared.base)}\nEND_OF_SCRIPT\n"
    return run(client, prepared.image, "bash", "-c", script + "bash /eval.sh 2>&1 || true")


def test_the_unmodified_script_sees_the_fix_and_only_the_fix(client: Any, prepared: Prepared) -> None:
    fixed = evaluate(client, prepared, FIX)
    assert "Successfully installed shout-1" in fixed
    assert "PASSED tests/test_shout.py::test_loud" in fixed
    untouched = evaluate(client, prepared, "true")
    assert "PASSED tests/test_shout.py::test_quiet" in untouched
    assert "FAILED tests/test_shout.py::test_loud" in untouched


def test_the_repository_ends_at_the_base_commit_and_is_clean(client: Any, prepared: Prepared) -> None:
    said = run(
        client,
        prepared.image,
        "bash",
        "-c",
        "git rev-parse HEAD; git for-each-ref --format='%(refname)'; git status --porcelain; git remote; git reflog",
    )
    assert said.split() == [prepared.base, "refs/heads/main", "refs/tags/v1"]


def test_a_login_shell_has_the_environment_active(client: Any, prepared: Prepared) -> None:
    said = run(
        client, prepared.image, "bash", "-lc", "command -v python; python -c 'import shout; print(shout.__file__)'"
    )
    assert said.split() == ["/opt/miniconda3/envs/testbed/bin/python", "/testbed/src/shout.py"]


def test_the_image_says_what_it_is(client: Any, prepared: Prepared) -> None:
    labels = client.images.get(prepared.image).labels
    assert labels["unbroken.image"] == "instance"
    assert labels["unbroken.instance"] == "o__p-1"


def test_what_preparing_changes_becomes_one_commit_on_top(client: Any, prepared: Prepared, tmp_path: Path) -> None:
    base = make_repository(tmp_path / "source")
    (tmp_path / "recipe.toml").write_text(
        'instance = "o__p-1"\nbefore_install = ["echo pinned >> CHANGES; touch new"]\ninstall = []\n'
    )
    image = f"{prepared.image.removesuffix(':latest')}:changed"
    row = write_row(tmp_path / "rows.jsonl", base, image)
    outcome = prepare(row, "--git", str(tmp_path / "source"), "--recipe", str(tmp_path / "recipe.toml"))
    assert outcome.returncode == 0, outcome.stderr
    try:
        said = run(client, image, "git", "log", "--format=%s %P", "--name-only", "-1")
        assert said.split() == ["SWE-bench", base, "CHANGES", "new"]
        assert run(client, image, "git", "status", "--porcelain") == ""
    finally:
        client.images.remove(image, force=True)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (["--base", "unbroken-test/none:1"], "There is no base image unbroken-test/none:1: build it with"),
        (["--install", "pip install not-in-any-index"], "`pip install not-in-any-index` failed in the image (exit 1)"),
    ],
)
def test_a_failure_is_a_sentence_and_leaves_nothing(
    client: Any, tmp_path: Path, option: list[str], sentence: str
) -> None:
    base = make_repository(tmp_path / "source")
    bundled_pip(tmp_path / "wheels")
    image = f"unbroken-test/{uuid.uuid4().hex}:latest"
    row = write_row(tmp_path / "rows.jsonl", base, image)
    sources = ("--git", str(tmp_path / "source"), "--wheels", str(tmp_path / "wheels"))
    outcome = prepare(row, *sources, *option)
    assert outcome.returncode == 1
    assert sentence in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not client.images.list(name=image.removesuffix(":latest"))


def test_an_image_of_someone_else_is_not_overwritten(client: Any, prepared: Prepared, tmp_path: Path) -> None:
    image = f"unbroken-test/{uuid.uuid4().hex}:latest"
    client.images.get("unbroken/base:1").tag(image)
    try:
        base = make_repository(tmp_path / "source")
        row = write_row(tmp_path / "rows.jsonl", base, image)
        outcome = prepare(row, "--git", str(tmp_path / "source"))
        assert outcome.returncode == 1
        assert f"{image} exists and was not prepared here" in outcome.stderr
    finally:
        client.images.remove(image)
