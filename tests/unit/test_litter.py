"""What counts as litter is told by rules that are data; a file that is tracked never does."""

import fnmatch
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.litter import (
    BUILT,
    COPIED,
    ENVIRONMENT,
    IGNORED,
    RULES,
    LeftOut,
    Rule,
    every_folder,
    exclude_file,
    folders_of,
    left_out_by_git,
    made_by_tools,
    may_be_made,
)

PARTS = st.sampled_from(
    ["build", "lib", "src", "pkg", "mod.py", "setup.py", "pyproject.toml", "bdist.linux-x86_64", "venv", "pyvenv.cfg"]
)
NAMES = st.lists(PARTS, min_size=1, max_size=6).map("/".join)
FILES = st.frozensets(NAMES, max_size=12)


def made(changed: list[str], tracked: list[str], present: list[str] | None = None) -> dict[str, LeftOut]:
    return made_by_tools(changed, tracked, present if present is not None else [*changed, *tracked])


@given(FILES, FILES, FILES)
def test_no_tracked_file_is_litter_and_what_is_was_changed(
    changed: frozenset[str], tracked: frozenset[str], present: frozenset[str]
) -> None:
    found = made_by_tools(changed, tracked, present | changed)
    assert found.keys() <= changed - tracked
    assert not found or may_be_made(changed)
    for name, left in found.items():
        assert name.startswith(left.name)
        assert not any(other.startswith(left.name) for other in tracked)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("build/lib/pkg/a.py", LeftOut("build/lib/", COPIED)),
        ("build/lib/in_src.py", LeftOut("build/lib/", COPIED)),
        ("build/lib.linux-x86_64-cpython-311/pkg/_a.so", LeftOut("build/lib.linux-x86_64-cpython-311/", BUILT)),
        ("build/bdist.linux-x86_64/wheel/x", LeftOut("build/bdist.linux-x86_64/", BUILT)),
        ("build/temp.linux-x86_64-3.11/a.o", LeftOut("build/temp.linux-x86_64-3.11/", BUILT)),
        ("build/scripts-3.11/run", LeftOut("build/scripts-3.11/", BUILT)),
        ("sub/build/lib/b.py", LeftOut("sub/build/lib/", COPIED)),
        ("build/lib/pkg/new.py", None),
        ("build/rules.py", None),
        ("build/lib", None),
        ("build/libfoo/pkg/a.py", None),
        ("other/build/lib/pkg/a.py", None),
        ("pkg/a.py", None),
    ],
)
def test_a_build_folder_is_litter_where_setuptools_proves_to_have_made_it(name: str, expected: LeftOut | None) -> None:
    tracked = ["pyproject.toml", "pkg/a.py", "src/in_src.py", "sub/setup.py", "sub/b.py"]
    assert made([name], tracked).get(name) == expected


def test_a_build_folder_that_is_tracked_has_no_litter() -> None:
    changed = ["build/rules.py", "build/lib/pkg/a.py", "build/bdist.linux-x86_64/x"]
    assert made(changed, ["setup.py", "pkg/a.py", "build/old.py"]) == {}


def test_a_build_folder_without_a_python_project_beside_it_is_somebody_s_own() -> None:
    assert made(["build/lib/pkg/a.py", "build/bdist.linux/x"], ["package.json", "pkg/a.py"]) == {}


def test_a_virtual_environment_is_left_out_whole_but_not_a_folder_that_has_tracked_files() -> None:
    changed = ["tools/env/pyvenv.cfg", "tools/env/bin/python", "tools/mine.py", "fixture/pyvenv.cfg", "pyvenv.cfg"]
    assert made(changed, ["fixture/tracked.txt"]) == {
        "tools/env/pyvenv.cfg": LeftOut("tools/env/", ENVIRONMENT),
        "tools/env/bin/python": LeftOut("tools/env/", ENVIRONMENT),
    }


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a/__pycache__/", "compiled modules of Python"),
        ("a/b.pyc", "compiled modules of Python"),
        ("web/node_modules/x/index.js", "packages that npm and its like installed"),
        ("dist/a-1-py3-none-any.whl", "built packages"),
        ("deep/dist/a-1.whl", IGNORED),
        ("node_modules", IGNORED),
        ("secret.env", IGNORED),
    ],
)
def test_what_is_left_out_says_why(name: str, why: str) -> None:
    assert left_out_by_git(name) == LeftOut(name, why)


def test_every_rule_has_a_reason_and_no_two_are_the_same() -> None:
    assert all(rule.reason for rule in RULES)
    assert len({rule.pattern for rule in RULES}) == len(RULES)


@given(st.text(st.characters(exclude_characters="\0/\n", exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_git_reads_a_folder_s_name_as_that_folder_alone(name: str) -> None:
    if name in (".", "..") or fnmatch.fnmatch(name, "*.egg-info"):
        return
    last_two = exclude_file([f"{name}/node_modules/tracked.js"], name).split("\n")[-3:-1]
    assert last_two[0].startswith("/")
    assert last_two[1] == f"!{last_two[0]}node_modules/"


ODD_NAMES = ["a b", "a ", "[x]*?", "!not", "#hash", "größe", "back\\slash", "tab\there", "-option", "x\ty "]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_git_itself_agrees_about_names_that_mean_something_in_a_gitignore(tmp_path: Path, name: str) -> None:
    (tmp_path / ".git").mkdir()
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "exclude").write_text(exclude_file([f"{name}/node_modules/tracked.js"], f"{name}/own"))
    asked = [f"{name}/own/file", f"{name}/node_modules/new.js", f"z{name}/node_modules/new.js", "abc/own/file"]
    command = ["git", "-C", str(tmp_path), "-c", f"core.excludesFile={tmp_path / 'exclude'}", "check-ignore", "-z"]
    done = subprocess.run(
        [*command, "--no-index", "--stdin"], input="\0".join(asked).encode(), capture_output=True, check=True
    )
    assert done.stdout.decode().split("\0")[:-1] == [asked[0], asked[2]]


def by_the_book(rule: Rule, name: str) -> bool:
    """What a rule means, one pattern after the other."""
    if rule.pattern.startswith("/"):
        parts, patterns = name.split("/"), rule.pattern[1:].split("/")
        return len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))
    *folders, last = name.split("/")
    if rule.pattern.endswith("/"):
        return any(fnmatch.fnmatchcase(folder, rule.pattern[:-1]) for folder in folders)
    return fnmatch.fnmatchcase(last, rule.pattern)


LITTER_PARTS = st.sampled_from(
    [
        "a",
        "dist",
        "x.whl",
        "m.pyc",
        "__pycache__",
        "x.egg-info",
        "node_modules",
        ".coverage",
        "a.cpython-3.so",
        ".tox",
        "",
    ]
)


@given(st.lists(LITTER_PARTS, min_size=1, max_size=5).map("/".join))
def test_reason_is_that_of_the_first_rule_that_means_the_name(name: str) -> None:
    expected = next((rule.reason for rule in RULES if by_the_book(rule, name)), IGNORED)
    assert left_out_by_git(name) == LeftOut(name, expected)


@given(FILES)
def test_every_folder_is_found_once_for_all(names: frozenset[str]) -> None:
    assert every_folder(names) == {folder for name in names for folder in folders_of(name)}


def test_a_tree_of_tracked_packages_costs_git_one_line() -> None:
    """Git compares each line with each file: with a line for each folder, thousands of packages took minutes."""
    tracked = [f"web/node_modules/package{number}/lib/index.js" for number in range(5000)]
    nested = "web/node_modules/package7/node_modules/inner/index.js"
    lines = exclude_file([*tracked, nested], None).splitlines()
    assert lines[len(RULES) :] == ["!/web/node_modules/", "!/web/node_modules/package7/node_modules/"]


@pytest.mark.timeout(60)
def test_hundreds_of_thousands_of_files_below_node_modules_are_told() -> None:
    names = [f"web/node_modules/p{number % 977}/node_modules/q/lib/f{number}.js" for number in range(300_000)]
    assert exclude_file(names, None).count("!/") == 978
    assert {left_out_by_git(name).reason for name in names} == {"packages that npm and its like installed"}
    assert made_by_tools(names, names, names) == {}
