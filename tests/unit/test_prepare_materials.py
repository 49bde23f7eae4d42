"""What a prepared instance is made of: the row's own words, a history that ends at the base commit, a real prefix."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from evals.swebench.dataset import Row
from evals.swebench.prepare_materials import (
    Interpreter,
    PreparationError,
    archive_interpreter,
    clone_history,
    complete_requirements,
    inspect_interpreter,
    install_commands,
    load_recipe,
    load_row,
    unpinned,
)

ROOT = Path(__file__).parents[2]
SCRIPT = """#!/bin/bash
source /opt/miniconda3/bin/activate
conda activate testbed
python -m pip install -e .
git apply -v - <<'EOF'
+pip install from-the-test-patch
EOF
: '>>>>> Start Test Output'
pytest -rA
pip install too-late
: '>>>>> End Test Output'
"""


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    command = ["git", "-C", str(directory), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three commits with a tag on each, a side branch, and a remote."""
    folder = tmp_path / "source"
    git(tmp_path, "init", "-q", "-b", "trunk", str(folder))
    for number in range(3):
        (folder / "file").write_text(f"{number}\n")
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", f"commit {number}")
        git(folder, "tag", "-a", "-m", "a release", f"v{number}")
    git(folder, "branch", "later-work")
    git(folder, "remote", "add", "origin", "https://example.invalid/o/p")
    return folder


def objects(repository: Path) -> set[str]:
    listing = git(repository, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    return set(listing.splitlines())


def test_history_holds_everything_up_to_the_base_commit_and_no_later_object(source: Path, tmp_path: Path) -> None:
    base = git(source, "rev-parse", "v1^{commit}")

    assert clone_history(source, base, tmp_path / "clone") == 2

    clone = tmp_path / "clone"
    assert git(clone, "rev-parse", "HEAD") == base
    assert git(clone, "describe", "--tags") == "v1"
    assert git(clone, "tag").split() == ["v0", "v1"]
    assert git(clone, "branch", "--all") == "* main"
    assert git(clone, "remote") == ""
    later = set(git(source, "rev-list", "--objects", "--no-object-names", "v2", "^v1").split())
    assert later
    assert not objects(clone) & later
    assert git(clone, "fsck", "--unreachable", "--no-reflogs") == ""


def test_history_comes_from_a_bare_directory_without_a_config_file(source: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(source), str(tmp_path / "bare"))
    (tmp_path / "bare" / "config").unlink()
    assert clone_history(tmp_path / "bare", git(source, "rev-parse", "HEAD"), tmp_path / "clone") == 3


def test_history_without_the_base_commit_names_the_commit_and_the_way_out(source: Path, tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match=f"{source} lacks the commit {'1' * 40}: fetch it") as raised:
        clone_history(source, "1" * 40, tmp_path / "clone")
    assert raised.value.exit_code == 2


def test_history_of_a_shallow_clone_is_refused(source: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth=1", source.as_uri(), str(tmp_path / "shallow"))
    with pytest.raises(PreparationError, match="--unshallow"):
        clone_history(tmp_path / "shallow", git(source, "rev-parse", "HEAD"), tmp_path / "clone")


def test_history_of_a_folder_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match="is no git directory"):
        clone_history(tmp_path / "nothing", "1" * 40, tmp_path / "clone")


def write_rows(path: Path, *ids: str) -> Path:
    rows = [dict.fromkeys(Row.model_fields, "") | {"instance_id": instance} for instance in ids]
    path.write_text(json.dumps(rows))
    return path


def test_a_row_is_found_by_its_id(tmp_path: Path) -> None:
    assert load_row(write_rows(tmp_path / "rows.json", "o__p-1", "o__p-2"), "o__p-2").instance_id == "o__p-2"


@pytest.mark.parametrize(
    ("instance", "sentence"), [("o__p-3", "o__p-3"), ("o__p-*", "is a pattern for 2 instances: prepare one at a time")]
)
def test_an_id_that_is_not_one_instance_is_a_sentence(tmp_path: Path, instance: str, sentence: str) -> None:
    with pytest.raises(PreparationError, match=sentence) as raised:
        load_row(write_rows(tmp_path / "rows.json", "o__p-1", "o__p-2"), instance)
    assert raised.value.exit_code == 2


def test_install_commands_are_the_scripts_own_before_its_tests() -> None:
    assert install_commands(SCRIPT) == ["python -m pip install -e ."]


def test_every_recipe_is_for_the_instance_it_is_named_after_and_pins_exactly() -> None:
    recipes = sorted((ROOT / "scripts" / "instances").glob("*.toml"))
    assert len(recipes) >= 4
    for path in recipes:
        recipe = load_recipe(path, path.stem)
        assert all("==" in requirement for requirement in recipe.requirements), path
        assert recipe.python, path


def test_a_recipe_for_another_instance_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('instance = "other"\n')
    with pytest.raises(PreparationError, match="is for other, not for o__p-1"):
        load_recipe(tmp_path / "recipe.toml", "o__p-1")


def test_a_recipe_with_a_misspelt_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('instance = "o__p-1"\nrequirement = []\n')
    with pytest.raises(PreparationError, match="requirement"):
        load_recipe(tmp_path / "recipe.toml", "o__p-1")


def test_build_tools_are_added_unless_named_in_any_spelling() -> None:
    tools = {"pip": "pip==23.2.1", "setuptools": "setuptools", "wheel": "wheel"}
    assert complete_requirements(["Setuptools>=40", "py==1.11.0"], tools) == [
        "pip==23.2.1",
        "wheel",
        "Setuptools>=40",
        "py==1.11.0",
    ]


def test_wheels_that_no_pin_chose_are_named_as_pins(tmp_path: Path) -> None:
    for name in ("typing_extensions-4.7.1-py3-none-any.whl", "tomli-2.0.1-py3-none-any.whl", "py-1.11.0-py2.py3.whl"):
        (tmp_path / name).touch()
    assert unpinned(["typing-extensions==4.7.1", "py"], tmp_path) == ["py==1.11.0", "tomli==2.0.1"]


def test_a_virtual_environment_is_no_installation(tmp_path: Path) -> None:
    (tmp_path / "pyvenv.cfg").touch()
    with pytest.raises(PreparationError, match="is a virtual environment"):
        inspect_interpreter(tmp_path)


def test_a_folder_without_an_interpreter_is_named(tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match=f"no interpreter {tmp_path}/bin/python3"):
        inspect_interpreter(tmp_path)


def test_the_archive_of_an_interpreter_is_a_prefix_without_what_others_installed(tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    library = prefix / "lib" / "python3.9"
    for name in ("os.py", "test/__init__.py", "test/test_os.py", "test/support/os_helper.py", "config/libpython3.9.a"):
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).touch()
    (library / "site-packages" / "flask").mkdir(parents=True)
    (library / "site-packages" / "flask" / "app.py").touch()
    (prefix / "bin").mkdir()
    (prefix / "bin" / "python3.9").touch()
    (prefix / "bin" / "pip").touch()
    (prefix / "bin" / "python3").symlink_to("python3.9")

    archive_interpreter(Interpreter(prefix, prefix / "bin" / "python3", "3.9"), tmp_path / "prefix.tar")

    with tarfile.open(tmp_path / "prefix.tar") as archive:
        members = {member.name.removeprefix("opt/miniconda3/envs/testbed/"): member for member in archive}
    files = {name for name, member in members.items() if not member.isdir()}
    assert files == {
        "bin/python",
        "bin/python3",
        "bin/python3.9",
        "lib/python3.9/os.py",
        "lib/python3.9/test/__init__.py",
        "lib/python3.9/test/support/os_helper.py",
    }
    assert members["bin/python"].linkname == "python3.9"


def test_the_command_says_what_is_wrong_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "prepare_instance"), "--dataset", str(tmp_path / "none.jsonl")]
    command += ["--instance", "o__p-1", "--git", str(tmp_path)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 2
    assert "Traceback" not in outcome.stderr
    assert outcome.stderr.startswith("prepare_instance: ")
    assert f"{tmp_path}/none.jsonl" in outcome.stderr
