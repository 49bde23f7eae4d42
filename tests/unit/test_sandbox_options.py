"""What is said about an agent's containers: understood once, spelled once, refused early."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.sandbox_options import SandboxOptionError, SandboxOptions, size, size_in_bytes


@pytest.mark.parametrize(("given", "shortest"), [
    ("4g", "4g"), ("4096m", "4g"), ("4GiB", "4g"), ("4 GB", "4g"), ("1.5g", "1536m"), ("1000", "1000"), ("1024", "1k"),
    ("2T", "2t"),
])  # fmt: skip
def test_equal_sizes_are_spelled_the_same(given: str, shortest: str):
    assert size(given, "memory") == shortest


@given(st.integers(1, 1 << 60))
def test_a_size_stays_what_it_is(number: int):
    assert size_in_bytes(size(str(number), "disk"), "disk") == number


@pytest.mark.parametrize("text", ["", "4x", "-1g", "0", "g", "1e9", "4g5", "inf", "nan", "5m", "9" * 30])
def test_what_is_no_size_or_too_small_is_refused(text: str):
    with pytest.raises(SandboxOptionError, match="is no size that can be used here") as refused:
        SandboxOptions.parse("none", memory=text)
    assert refused.value.option == "memory"


@pytest.mark.parametrize(("network", "hosts", "option", "words"), [
    ("host", [], "network", "none, bridge, allowlist"),
    ("allowlist", [], "network", "--allow-host HOST"),
    ("none", ["a.test"], "allowed_hosts", "only allowed by --network allowlist, and the network is none"),
    ("bridge", ["a.test"], "allowed_hosts", "and the network is bridge"),
    ("allowlist", ["a.test", "http://b.test"], "allowed_hosts", "'http://b.test' is no host"),
])  # fmt: skip
def test_networks_that_make_no_sense_are_refused(network: str, hosts: list[str], option: str, words: str):
    with pytest.raises(SandboxOptionError) as refused:
        SandboxOptions.parse(network, hosts)
    assert refused.value.option == option
    assert words in str(refused.value)


def test_equal_options_have_equal_descriptions():
    one = SandboxOptions.parse("allowlist", ["b.test", "A.test"], cpus=2, memory="2048m", disk="10g")
    other = SandboxOptions.parse("allowlist", ["a.test", "b.test", "b.test"], cpus=2.0, memory="2g", disk="10240m")
    assert one.description() == other.description()
    assert one.description()["allowed_hosts"] == ["a.test", "b.test"]


@pytest.mark.parametrize("cpus", [0.0, -1.0, float("inf"), float("nan")])
def test_what_is_no_number_of_processors_is_refused(cpus: float):
    with pytest.raises(SandboxOptionError, match="is no number of processors"):
        SandboxOptions.parse("none", cpus=cpus)


class Engine:
    """What an engine says of itself."""

    def __init__(self, processors: int, driver: str, below: str) -> None:
        self._answer = {"NCPU": processors, "Driver": driver, "DriverStatus": [["Backing Filesystem", below]]}

    def info(self) -> dict[str, Any]:
        return self._answer


async def test_limits_that_an_engine_cannot_set_are_refused_before_anything_starts() -> None:
    small = cast("Any", Engine(2, "overlay2", "extfs"))
    with pytest.raises(SandboxOptionError, match="32 processors were asked for, and the Docker engine has 2"):
        await SandboxOptions(cpus=32).check(small)
    with pytest.raises(
        SandboxOptionError, match="cannot limit the disk: overlay2 does it on xfs alone, and this is ext"
    ):
        await SandboxOptions(disk="1g").check(small)
    await SandboxOptions(cpus=2, memory="1g").check(small)
    await SandboxOptions(disk="1g").check(cast("Any", Engine(2, "overlay2", "xfs")))
