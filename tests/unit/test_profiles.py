"""Profiles, presets and prices: data in which every value says where it comes from, and rules for which one holds."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.profiles.advice import advice
from agent.profiles.prices import PriceTable, age_warning, find_prices, has_prices
from agent.profiles.registry import ProfileError, fitting_profile, presets, profiles
from agent.profiles.settings import Choice, Settings, missing_parts, resolve
from agent.profiles.stated import Stated
from results.records.usage import Prices

MODEL = "Qwen/Qwen3.6-35B-A3B"
PROFILE = """
name = "mine"
title = "Mine"
served_as = ['mine-7b']
default_mode = "plain"
context = { native = { value = 4096, ours = "measured" } }
[modes.plain]
title = "Plain"
thinking = { value = false, ours = "it cannot" }
sampling = { temperature = { value = 0.2, ours = "a guess" } }
"""


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's own settings, empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for kind in ("profiles", "presets"):
        (tmp_path / "unbroken" / kind).mkdir(parents=True)
    return tmp_path / "unbroken"


class TestData:
    @pytest.mark.parametrize("name", ["qwen3.5-35b-a3b", "qwen3.6-27b", "qwen3.6-35b-a3b", "qwen3.8-27b"])
    def test_a_profile_reads_and_its_default_mode_is_that_of_a_coding_agent(self, name: str) -> None:
        profile = profiles().load(name)
        mode = profile.modes[profile.default_mode]
        penalty = mode.sampling.presence_penalty
        assert mode.thinking.value
        assert penalty is not None
        assert penalty.value == 0.0

    # The model card of Qwen3.6-35B-A3B, best practices: temperature, top_p, top_k, min_p, presence, repetition.
    @pytest.mark.parametrize(
        ("mode", "thinking", "values"),
        [
            ("thinking", True, [1.0, 0.95, 20, 0.0, 1.5, 1.0]),
            ("coding", True, [0.6, 0.95, 20, 0.0, 0.0, 1.0]),
            ("instruct", False, [0.7, 0.8, 20, 0.0, 1.5, 1.0]),
        ],
    )
    def test_the_modes_are_those_of_the_model_card(self, mode: str, thinking: bool, values: list[float]) -> None:
        found = profiles().load("qwen3.6-35b-a3b").modes[mode]
        assert [stated.value for stated in found.sampling.values().values()] == values
        assert all(stated.published for stated in found.sampling.values().values())
        assert found.thinking.value == thinking

    def test_context_and_output_are_those_of_the_model_card(self) -> None:
        profile = profiles().load("qwen3.6-35b-a3b")
        assert profile.context.extended is not None
        assert profile.output is not None
        assert profile.output.hard is not None
        assert (profile.context.native.value, profile.context.extended.value) == (262_144, 1_010_000)
        assert (profile.output.usual.value, profile.output.hard.value) == (32_768, 81_920)

    # The model card of Qwen3.6-35B-A3B, footnotes on SWE-bench and on Terminal-Bench 2.0.
    def test_what_the_card_says_of_a_benchmark_is_published_and_the_rest_is_ours(self) -> None:
        swebench = resolve(Choice(preset="qwen3.6-swebench"), {})
        published = {name for name, stated in swebench.values.items() if stated.published}
        assert published == {"temperature", "top_p", "context", "toolset"}
        assert (swebench["temperature"], swebench["top_p"], swebench["toolset"]) == (1.0, 0.95, "bash+editor")

        terminal = resolve(Choice(preset="qwen3.6-terminal-bench"), {})
        published = {name: stated.value for name, stated in terminal.values.items() if stated.published}
        assert published == {
            "temperature": 1.0, "top_p": 0.95, "top_k": 20, "max_output": 81_920, "context": 262_144,
            "agent": "terminus", "attempts": 5, "seconds": 10_800, "cpus": 32, "memory_gib": 48,
        }  # fmt: skip

    @pytest.mark.parametrize("origins", [{}, {"published": "a", "ours": "b"}, {"published": ""}])
    def test_a_value_has_exactly_one_origin(self, origins: dict[str, str]) -> None:
        with pytest.raises(ValidationError):
            Stated[int].model_validate({"value": 1, **origins})


class TestServedNames:
    @pytest.mark.parametrize(
        ("served", "name"),
        [
            ("Qwen/Qwen3.6-35B-A3B", "qwen3.6-35b-a3b"),
            ("unsloth/Qwen3.6-35B-A3B-GGUF:UD-Q4_K_XL", "qwen3.6-35b-a3b"),
            ("qwen3.6:35b-a3b", "qwen3.6-35b-a3b"),
            ("/models/Qwen3.6-35B-A3B-UD-Q4_K_XL.gguf", "qwen3.6-35b-a3b"),
            ("qwen3.6-27b", "qwen3.6-27b"),
            ("QuantTrio/Qwen3.6-27B-AWQ", "qwen3.6-27b"),
            ("Qwen/Qwen3.5-35B-A3B", "qwen3.5-35b-a3b"),
            ("unsloth/Qwen3.8-27B-NVFP4", "qwen3.8-27b"),
            ("Qwen/Qwen3-32B", None),
            ("qwen3.6-plus", None),
            ("scripted/careful", None),
        ],
    )
    def test_a_served_name_suggests_a_profile(self, served: str, name: str | None) -> None:
        profile = fitting_profile(served)
        assert (profile.name if profile else None) == name

    def test_several_that_fit_are_no_suggestion(self, config: Path) -> None:
        text = PROFILE.replace("mine-7b", "qwen3.6-27b")
        (config / "profiles" / "mine.toml").write_text(text)
        assert fitting_profile("qwen3.6-27b") is None


class TestOwnFiles:
    def test_ones_own_comes_before_what_comes_along(self, config: Path) -> None:
        (config / "profiles" / "qwen3.6-27b.toml").write_text(PROFILE.replace('"mine"', '"qwen3.6-27b"'))
        (config / "profiles" / "mine.toml").write_text(PROFILE)
        assert profiles().load("qwen3.6-27b").title == "Mine"
        assert "mine" in profiles().names()
        assert profiles().own_names() == ["mine", "qwen3.6-27b"]

    def test_a_preset_of_ones_own_takes_its_sampling_from_a_profile(self, config: Path) -> None:
        (config / "presets" / "try.toml").write_text(
            'name = "try"\ntitle = "Try"\nprofile = "qwen3.6-35b-a3b"\nmode = "coding"\n'
            'max_output = { value = 1000, ours = "short" }\n'
        )
        settings = resolve(Choice(preset="try"), {})
        assert (settings.preset, settings.profile, settings.mode) == ("try", "qwen3.6-35b-a3b", "coding")
        assert (settings["temperature"], settings["max_output"]) == (0.6, 1000)

    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("name = ", ["mine.toml", "is no TOML"]),
            (PROFILE.replace("title", "titel"), ["mine.toml", "titel"]),
            (PROFILE.replace(', ours = "a guess"', ""), ["mine.toml", "temperature", "published", "ours"]),
            (PROFILE.replace('"plain"', '"fast"'), ["mine.toml", "default_mode", "fast"]),
            (PROFILE.replace('"mine"', '"other"'), ["mine.toml", "other"]),
            (PROFILE.replace("mine-7b", "("), ["mine.toml", "served_as", "no regular expression"]),
        ],
    )
    def test_a_mistake_is_named_with_its_file_and_cell(self, config: Path, text: str, parts: list[str]) -> None:
        (config / "profiles" / "mine.toml").write_text(text)
        with pytest.raises(ProfileError) as raised:
            profiles().load("mine")
        for part in parts:
            assert part in str(raised.value)

    @pytest.mark.parametrize("name", ["nothing", "../mine", ""])
    def test_a_name_that_is_none_lists_those_that_there_are(self, name: str) -> None:
        with pytest.raises(ProfileError, match=r"qwen3\.6-swebench"):
            presets().load(name)


class TestWhatHolds:
    def test_nothing_said_leaves_everything_to_the_server(self) -> None:
        settings = resolve(Choice(model=MODEL), {"temperature": None, "thinking": None})
        assert (settings.sampling, settings.origins, settings.profile) == ({}, {}, None)

    def test_the_command_line_wins_over_the_preset_and_says_so(self) -> None:
        settings = resolve(Choice(preset="qwen3.6-swebench"), {"temperature": 0.3, "top_p": None, "steps": 7})
        assert (settings["temperature"], settings["top_p"], settings["steps"]) == (0.3, 0.95, 7)
        assert settings.origins["temperature"] == "ours: given on the command line"
        assert settings.origins["top_p"].startswith("published: model card")
        assert settings.sampling["max_output"] == 32_768

    def test_a_value_of_zero_or_no_is_given_all_the_same(self) -> None:
        settings = resolve(Choice(preset="qwen3.6-swebench"), {"temperature": 0.0, "thinking": False})
        assert (settings["temperature"], settings["thinking"]) == (0.0, False)

    def test_a_profile_alone_means_its_agentic_mode(self) -> None:
        settings = resolve(Choice(profile="qwen3.6-35b-a3b"), {})
        assert (settings.profile, settings.mode) == ("qwen3.6-35b-a3b", "agentic")
        assert settings["presence_penalty"] == 0.0
        assert settings.origins["presence_penalty"].startswith("ours: the card is silent")

    def test_a_mode_that_is_named_wins_over_the_preset_and_a_profile_does_not(self) -> None:
        by_profile = resolve(Choice(preset="qwen3.6-swebench", profile="qwen3.6-27b"), {})
        assert by_profile.origins["temperature"] == "published: model card of Qwen3.6-35B-A3B, note on SWE-bench"
        by_mode = resolve(Choice(preset="qwen3.6-swebench", profile="qwen3.6-27b", mode="coding"), {})
        assert (by_mode["temperature"], by_mode["toolset"]) == (0.6, "bash+editor")

    def test_a_mode_without_a_profile_needs_the_models_name(self) -> None:
        assert resolve(Choice(mode="instruct", model=MODEL), {})["thinking"] is False
        for choice in (Choice(mode="instruct"), Choice(mode="instruct", model="other")):
            with pytest.raises(ProfileError, match="name it with --profile"):
                resolve(choice, {})

    def test_a_mode_that_a_profile_lacks_is_named_with_those_that_it_has(self) -> None:
        with pytest.raises(ProfileError, match="no mode 'fast'; it has: agentic, thinking, coding, instruct"):
            resolve(Choice(profile="qwen3.6-35b-a3b", mode="fast"), {})

    def test_what_a_command_cannot_do_is_named(self) -> None:
        anything: dict[str, Any] = dict.fromkeys(
            [*resolve(Choice(preset="qwen3.6-terminal-bench"), {}).values, "toolset"]
        )
        supported = {**anything, "agent": ("default",), "cpus": (), "memory_gib": ()}
        settings = resolve(Choice(preset="qwen3.6-terminal-bench"), {})
        assert missing_parts(settings, supported) == ["agent terminus", "cpus 32.0", "memory_gib 48.0"]
        assert missing_parts(resolve(Choice(preset="qwen3.6-swebench"), {}), {**supported, "steps": None}) == []


class TestAdvice:
    TODAY = date(2026, 11, 22)

    def test_a_profile_that_fits_is_suggested_and_never_taken(self) -> None:
        (said,) = advice(Settings(), MODEL, None, self.TODAY)
        assert "--profile qwen3.6-35b-a3b" in said
        assert advice(resolve(Choice(profile="qwen3.6-35b-a3b"), {}), MODEL, None, self.TODAY) == []
        assert advice(Settings(), "other", None, self.TODAY) == []

    def test_a_preset_of_another_model_is_pointed_out(self) -> None:
        settings = resolve(Choice(preset="qwen3.6-swebench"), {})
        (said,) = advice(settings, "deepseek-v4-pro", None, self.TODAY)
        assert "qwen3.6-swebench" in said
        assert advice(settings, MODEL, None, self.TODAY) == []

    def test_a_broken_profile_that_nobody_asked_for_stops_nothing(self, config: Path) -> None:
        (config / "profiles" / "broken.toml").write_text("x")
        assert advice(Settings(), MODEL, None, self.TODAY) == []

    def test_a_price_that_is_too_old_says_so(self) -> None:
        prices = Prices(prompt=1.0, output=1.0, dated="2026-01-01", source="x")
        (said,) = advice(Settings(), "other", prices, self.TODAY)
        assert "2026-01-01, 325 days ago" in said
        assert age_warning(prices, date(2026, 6, 30)) is None  # 180 days
        assert age_warning(Prices(prompt=1.0, output=1.0), self.TODAY) is None


class TestPrices:
    def test_host_and_model_have_to_match(self) -> None:
        found = find_prices("https://api.moonshot.ai/v1", "kimi-k2.6")
        assert found is not None
        assert (found.prompt, found.cached, found.output, found.dated) == (0.95, 0.16, 4.0, "2026-06-12")
        assert found.source
        assert find_prices("http://127.0.0.1:8000/v1", "kimi-k2.6") is None
        assert find_prices("https://api.moonshot.ai.example.org/v1", "kimi-k2.6") is None
        assert find_prices("https://api.moonshot.ai/v1", "kimi-k2.6-other") is None
        assert (has_prices("https://api.moonshot.ai/v1"), has_prices("http://127.0.0.1:8000/v1")) == (True, False)

    def test_a_table_of_ones_own_comes_first(self, config: Path) -> None:
        (config / "prices.toml").write_text(
            "[[prices]]\nmodel = 'kimi'\nhost = 'moonshot'\nprompt = 9\noutput = 9\n"
            "dated = 2026-11-01\nsource = 'bill'\n"
        )
        found = find_prices("https://api.moonshot.ai/v1", "kimi-k2.6")
        assert found == Prices(prompt=9, output=9, dated="2026-11-01", source="bill")

    @pytest.mark.parametrize("entry", [{"prompt": -1}, {"source": ""}, {"dated": "soon"}, {"currency": "CNY"}])
    def test_an_entry_that_cannot_be_used_is_refused(self, entry: dict[str, Any]) -> None:
        whole = {"model": "a", "host": "b", "prompt": 1, "output": 1, "dated": date(2026, 1, 1), "source": "c", **entry}
        with pytest.raises(ValidationError):
            PriceTable.model_validate({"prices": [whole]})
