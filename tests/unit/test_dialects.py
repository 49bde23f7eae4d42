"""Dialects as data: the table that comes along, a person's own, and what is wrong with a wrong one."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from agent.dialects.behaviours import BEHAVIOURS
from agent.dialects.dialect import Dialect
from agent.dialects.patterns import values_at
from agent.dialects.registry import DialectError, dialect_names, load_dialect, local_addresses
from agent.dialects.toml_text import dialect_as_toml
from unbroken.commands.backends import application

FAMILIES = {
    "vllm", "sglang", "llama.cpp", "ollama", "lmstudio", "ktransformers", "mlx", "transformers-serve", "dashscope",
    "openrouter", "deepseek", "moonshot", "openai", "gemini-compat", "generic",
}  # fmt: skip
CHECKS = {
    "reasoning", "thinking_off", "tool_turns", "user_message", "tool_call", "parallel_calls", "cache", "overflow",
    "context", "output_cap", "images", "usage",
}  # fmt: skip

Write = Callable[[str, str], Path]


@pytest.fixture
def write_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a dialect into the folder of a person's own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "unbroken" / "dialects"
    folder.mkdir(parents=True)

    def write(name: str, text: str) -> Path:
        file = folder / f"{name}.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


# -- the table that comes along


def test_every_family_is_there(write_own: Write):
    assert set(dialect_names()) >= FAMILIES


@pytest.mark.parametrize("name", dialect_names())
def test_a_dialect_says_where_thinking_comes_from_and_goes_to(name: str):
    dialect = load_dialect(name)
    assert dialect.name == name
    assert dialect.reasoning.received or name in ("openai", "gemini-compat")
    assert dialect.carries_thinking == (name != "openai")
    assert set(dialect.mends) <= CHECKS
    assert dialect.overflow.patterns or dialect.overflow.silent


@pytest.mark.parametrize("name", dialect_names())
def test_a_dialect_switches_thinking_both_ways(name: str):
    thinking = load_dialect(name).thinking
    assert thinking.on
    assert thinking.off
    assert thinking.on != thinking.off
    assert bool(thinking.preserve) == bool(thinking.forget) or name == "moonshot"  # TOML has no word for its null


@pytest.mark.parametrize("name", dialect_names())
def test_a_dialect_is_the_same_when_it_is_shown_and_read_again(name: str):
    dialect = load_dialect(name)
    again = Dialect.model_validate(tomllib.loads(dialect_as_toml(dialect)))
    assert again.model_dump(exclude={"extends"}) == dialect.model_dump(exclude={"extends"})
    assert again.sha256() == dialect.sha256()


def test_servers_of_this_machine_are_known_by_their_ports():
    addresses = local_addresses()
    assert list(addresses)[:5] == ["vllm", "sglang", "llama.cpp", "ollama", "lmstudio"]
    assert addresses["ollama"] == "http://127.0.0.1:11434/v1"


def test_hash_is_of_what_decides_what_is_sent():
    dialect = load_dialect("vllm")
    assert dialect.model_copy(update={"title": "other", "mends": {}}).sha256() == dialect.sha256()
    assert dialect.model_copy(update={"cache_block": 7}).sha256() != dialect.sha256()


# -- a person's own


def test_own_dialect_is_found_by_its_name(write_own: Write):
    write_own("mine", 'name = "mine"\ntitle = "Mine"\n[output]\nkey = "limit"\n')
    assert load_dialect("mine").output.key == "limit"
    assert "mine" in dialect_names()


def test_own_dialect_takes_over_what_it_does_not_say(write_own: Write):
    write_own("mine", 'name = "mine"\ntitle = "Mine"\nextends = "vllm"\n[reasoning]\nsent = ["thoughts"]\n')
    mine, vllm = load_dialect("mine"), load_dialect("vllm")
    assert mine.reasoning.sent == ("thoughts",)
    assert mine.reasoning.received == vllm.reasoning.received
    assert mine.thinking == vllm.thinking
    assert mine.detection.signs == ()  # it would be recognised in the place of what it extends
    assert mine.address is None


def test_own_dialect_may_have_the_name_of_one_that_comes_along_and_extend_it(write_own: Write):
    write_own("vllm", 'name = "vllm"\ntitle = "Our vLLM"\nextends = "vllm"\ncache_block = 16\n')
    assert (load_dialect("vllm").title, load_dialect("vllm").cache_block) == ("Our vLLM", 16)
    assert load_dialect("vllm").thinking.on


def test_own_dialect_may_extend_another_own_one(write_own: Write):
    write_own("one", 'name = "one"\ntitle = "One"\nextends = "two"\n')
    write_own("two", 'name = "two"\ntitle = "Two"\nextends = "llama.cpp"\ncache_block = 9\n')
    assert load_dialect("one").cache_block == 9
    assert load_dialect("one").rendering == "apply-template"


def test_dialect_may_lie_anywhere(tmp_path: Path):
    file = tmp_path / "somewhere.toml"
    file.write_text('name = "mine"\ntitle = "Mine"\n')
    assert load_dialect(str(file)).name == "mine"


HEAD = 'name = "mine"\ntitle = "Mine"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + "[reasoning\n", "is no TOML"),
        (HEAD + "[reasonning]\nsent = []\n", "reasonning: there is no such cell"),
        (HEAD + "[reasoning]\nsend = []\n", "reasoning.send: there is no such cell"),
        (HEAD + '[reasoning]\nsent = "reasoning"\n', "reasoning.sent"),
        (HEAD + "[reasoning]\nsent = [1]\n", "reasoning.sent.0"),
        (HEAD + "[thinking]\non = true\n", "thinking.on"),
        (HEAD + '[thinking]\npreserves = "maybe"\n', "thinking.preserves"),
        (HEAD + '[overflow]\npatterns = ["("]\n', r"overflow.patterns.0: '\(' is no regular expression"),
        (HEAD + '[usage]\ncached = ["a..b"]\n', r"usage.cached.0: 'a\.\.b' is no path"),
        (HEAD + '[usage]\ncached = ["a[b"]\n', r"usage.cached.0: 'a\[b' is no path"),
        (HEAD + '[[served.context]]\nurl = "models"\n', "served.context.0.at: this cell is needed"),
        (HEAD + '[[served.context]]\nurl = "http://evil/x"\nat = "a"\n', "served.context.0.url: .*no place"),
        (HEAD + '[[served.context]]\nurl = "//evil/x"\nat = "a"\n', "served.context.0.url: .*no place"),
        (HEAD + '[[detection.signs]]\nurl = "models"\n', "detection.signs.0: it says nothing"),
        (HEAD + '[[detection.signs]]\nurl = "models"\nat = "a"\nheader = "b"\n', "detection.signs.0: at and header"),
        (HEAD + 'address = "localhost"\n', "address"),
        (HEAD + "cache_block = 0\n", "cache_block"),
        (HEAD + 'behaviours = ["be_nice"]\n', "behaviours: there is no 'be_nice'; there are: .*usage_in_choice"),
        (HEAD + 'extends = "vlm"\n', "there is no dialect 'vlm'; there are: .*vllm"),
        (HEAD + 'extends = "mine"\n', "extends: .*mine.toml extend each other"),
        ('title = "Mine"\n', "name: this cell is needed"),
        ('name = "mine"\n', "title: this cell is needed"),
        ('name = "other"\ntitle = "Mine"\n', "name: it is 'other', but the file is called mine.toml"),
        ('name = "My Dialect"\ntitle = "Mine"\n', "name"),
    ],
)  # fmt: skip
def test_wrong_cell_is_named_with_its_file(write_own: Write, text: str, words: str):
    file = write_own("mine", text)
    with pytest.raises(DialectError, match=words) as failure:
        load_dialect("mine")
    assert str(file) in str(failure.value) or "there is no dialect" in str(failure.value)


def test_dialects_that_extend_each_other_are_named(write_own: Write):
    write_own("one", 'name = "one"\ntitle = "One"\nextends = "two"\n')
    write_own("two", 'name = "two"\ntitle = "Two"\nextends = "one"\n')
    with pytest.raises(DialectError, match=r"one\.toml and .*two\.toml extend each other"):
        load_dialect("one")


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None):
    if content is not None:
        (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(DialectError, match=r"mine\.toml cannot be read"):
        load_dialect(str(tmp_path / "mine.toml"))


# -- the documentation

PAGES = Path(__file__).parents[2] / "docs" / "backends"


@pytest.mark.parametrize("name", dialect_names())
def test_a_dialect_has_its_page(name: str):
    assert (PAGES / f"{name}.md").read_text("utf-8").startswith(f"# {name}")
    assert f"]({name}.md)" in (PAGES / "README.md").read_text("utf-8")


def test_the_documented_dialect_of_ones_own_works(write_own: Write):
    page = (PAGES / "own.md").read_text("utf-8")
    write_own("our-gateway", page.partition("```toml\n")[2].partition("```")[0])
    ours = load_dialect("our-gateway")
    assert ours.reasoning.sent == ("reasoning",)
    assert ours.thinking.on == load_dialect("vllm").thinking.on
    assert "template" in ours.thinking.preserve


def test_every_cell_and_every_behaviour_is_documented():
    page = (PAGES / "own.md").read_text("utf-8")
    for table, cells in Dialect.model_json_schema()["properties"].items():
        assert table in page, (table, cells)
    for name in BEHAVIOURS:
        assert f"| `{name}` |" in page


# -- paths


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.b", [1]),
        ("list[].id", ["x", "y"]),
        ("list[id].size", [2]),
        ("list[name].size", []),
        ("list[].tags[]", ["t", "u"]),
        ("a[]", []),
        ("nothing", []),
        ("none", []),
        ("list", [[{"id": "x", "size": 1, "tags": ["t"]}, {"id": "y", "size": 2, "tags": ["u"]}]]),
    ],
)
def test_path_leads_to_values(path: str, found: list[Any]):
    value = {
        "a": {"b": 1},
        "none": None,
        "list": [{"id": "x", "size": 1, "tags": ["t"]}, {"id": "y", "size": 2, "tags": ["u"]}],
    }
    assert list(values_at(value, path, "y")) == found


def test_path_may_begin_in_a_list():
    assert list(values_at([{"a": 1}, {"a": 2}], "[].a")) == [1, 2]


@given(st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3) |
                    st.dictionaries(st.sampled_from("ab"), inner, max_size=3), max_leaves=10),
       st.sampled_from(["a", "a.b", "a[].b", "a[b]", "[]", "[a].b"]))  # fmt: skip
def test_any_json_has_values_or_none_at_a_path(value: object, path: str):
    assert None not in list(values_at(value, path, "x"))


# -- the commands


def test_dialects_are_listed_with_where_ones_own_lie(write_own: Write, monkeypatch: pytest.MonkeyPatch):
    file = write_own("mine", HEAD)
    broken = write_own("broken", "name = 3\n")
    monkeypatch.setenv("COLUMNS", "400")
    shown = CliRunner().invoke(application, ["dialects"])
    assert shown.exit_code == 0
    assert f"Mine  ({file})" in shown.output
    assert f"cannot be used: {broken}: name:" in shown.output
    assert {line.split()[0] for line in shown.output.splitlines() if line} >= FAMILIES


def test_cells_are_shown_as_toml_with_what_they_take_over(write_own: Write):
    write_own("mine", HEAD + 'extends = "vllm"\ncache_block = 3\n')
    shown = CliRunner().invoke(application, ["show", "mine"])
    assert shown.exit_code == 0
    cells = tomllib.loads(shown.output)
    assert (cells["name"], cells["cache_block"], cells["rendering"]) == ("mine", 3, "tokenize")
