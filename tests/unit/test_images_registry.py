"""Registries over real HTTP: tokens, lists of platforms, limits, and answers that are not what they should be."""

import gzip
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry_server import Fault, Published, RegistryServer, digest_of, serving, tar_layer

from evals.images.layers import chain_ids
from evals.images.patience import Patience, seconds_to_wait
from evals.images.registry import MOST_BYTES, Registries, RegistryError, parse_challenge
from evals.images.registry_access import Access, engine_access
from evals.images.remote_images import TYPICAL_RATIO, Platform, RemoteImage, RemoteImages, unpacked_size

BASE, ONE, TWO = (tar_layer(**{name: name.encode() * 5000}) for name in ("base", "one", "two"))
QUICK = Patience(tries=3, first=0.001, longest=0.002, longest_asked=5.0)


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with serving() as server:
        yield server


def find(name: str, access: Access | None = None, patience: Patience = QUICK, **settings: Any) -> RemoteImage:
    with Registries(access or Access(), patience) as registries:
        return RemoteImages(registries, **settings).find(name)


def manifests(registry: RegistryServer) -> list[str]:
    return [path for path in registry.paths() if "/manifests/" in path]


def test_an_image_has_the_sizes_of_its_layers_packed_and_unpacked(registry: RegistryServer) -> None:
    image = registry.publish("a/b", [BASE, ONE])
    found = find(image.name)
    assert found.digest == image.digest
    assert [layer.compressed for layer in found.layers] == [len(layer) for layer in image.layers]
    assert [layer.unpacked for layer in found.layers] == [len(BASE), len(ONE)]
    assert not any(layer.is_estimate for layer in found.layers)
    assert list(found.on_disk()) == chain_ids([digest_of(BASE), digest_of(ONE)])


def test_layers_are_not_fetched(registry: RegistryServer) -> None:
    image = registry.publish("a/b", [BASE])
    find(image.name)
    whole = [one for one in registry.asked if digest_of(image.layers[0]) in one.path and "Range" not in one.headers]
    assert whole == []


@pytest.mark.parametrize("media_type", ["application/vnd.docker.image.rootfs.diff.tar.gzip", "application/x+zstd"])
def test_where_a_size_is_not_to_be_had_it_is_an_estimate(registry: RegistryServer, media_type: str) -> None:
    registry.ranges = False
    found = find(registry.publish("a/b", [BASE], media_type=media_type).name)
    (layer,) = found.layers
    assert layer.is_estimate
    assert layer.unpacked == round(layer.compressed * TYPICAL_RATIO)


def test_of_several_platforms_the_engines_own_is_taken(registry: RegistryServer) -> None:
    images = {
        "arm64": registry.publish("a/b", [ONE], "arm", architecture="arm64"),
        "amd64": registry.publish("a/b", [TWO], "amd"),
    }
    index = registry.publish_index("a/b", "latest", images)
    for architecture, layer in (("amd64", TWO), ("arm64", ONE)):
        found = find(index.name, platform=Platform(architecture=architecture))
        assert found.digest == index.digest
        assert list(found.on_disk()) == [digest_of(layer)]
    with pytest.raises(RegistryError, match="other platforms than riscv64"):
        find(index.name, platform=Platform(architecture="riscv64"))


def test_a_token_is_fetched_once_for_a_repository(registry: RegistryServer) -> None:
    registry.wants_token = True
    image = registry.publish("a/b", [BASE, ONE])
    assert find(image.name).digest == image.digest
    assert len([path for path in registry.paths() if path.startswith("/token")]) == 1


def test_who_has_logged_in_gets_what_others_do_not(registry: RegistryServer) -> None:
    registry.wants_token, registry.login = True, ("me", "secret:word")
    image = registry.publish("a/b", [BASE])
    with pytest.raises(RegistryError, match="only those who log in"):
        find(image.name)
    assert find(image.name, Access(credentials=lambda _: ("me", "secret:word"))).digest == image.digest


def test_a_registry_that_wants_a_password_gets_it_and_nobody_else(registry: RegistryServer) -> None:
    registry.basic, registry.login = True, ("me", "secret")
    image = registry.publish("a/b", [BASE])
    with pytest.raises(RegistryError, match="log in with `docker login 127"):
        find(image.name)
    with serving() as storage:
        storage.blobs, registry.blobs_elsewhere = registry.blobs, f"http://{storage.host}"
        assert find(image.name, Access(credentials=lambda _: ("me", "secret"))).digest == image.digest
        assert storage.asked
        assert not any("Authorization" in one.headers for one in storage.asked)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("manifests", times=2, status=429, headers={"Retry-After": "0"}),
        Fault("manifests", times=2, status=503),
        Fault("manifests", times=1, cut_after=20, method="GET"),
        Fault("/token", times=1, status=500),
    ],
)
def test_what_passes_is_waited_for(registry: RegistryServer, fault: Fault) -> None:
    registry.wants_token = True
    image = registry.publish("a/b", [BASE])
    registry.faults.append(fault)
    assert find(image.name).digest == image.digest
    assert fault.times == 0


def test_what_does_not_pass_is_told_after_a_while(registry: RegistryServer) -> None:
    image = registry.publish("a/b", [BASE])
    registry.faults.append(Fault("manifests", times=99, status=500))
    with pytest.raises(RegistryError, match="answers with status 500"):
        find(image.name)
    assert len(registry.asked) == QUICK.tries


def test_a_wait_that_is_too_long_is_told_and_not_kept(registry: RegistryServer) -> None:
    image = registry.publish("a/b", [BASE])
    registry.faults.append(Fault("manifests", times=99, status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(RegistryError, match="asked too often, and asks to wait 3600 s") as caught:
        find(image.name)
    assert caught.value.retry_after == 3600
    assert len(registry.asked) == 1


def test_what_is_not_there_is_not_asked_for_twice(registry: RegistryServer) -> None:
    with pytest.raises(RegistryError, match=r"has no a/b:latest"):
        find(f"{registry.host}/a/b")
    assert len(registry.asked) == 1


def test_a_registry_that_is_not_there_is_named() -> None:
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1 cannot be asked"):
        find("127.0.0.1:9/a/b")


def test_an_image_that_is_not_what_its_digest_says_is_refused(registry: RegistryServer) -> None:
    image = registry.publish("a/b", [BASE])
    kind, data = registry.manifests["a/b", image.digest]
    registry.manifests["a/b", image.digest] = kind, data + b" "
    with pytest.raises(RegistryError, match="gives something else for sha256:"):
        find(image.name)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"config": {}, "layers": []}', b"\xff", b"9" * (MOST_BYTES + 1)])
def test_what_is_no_manifest_is_told(registry: RegistryServer, body: bytes) -> None:
    registry.manifests["a/b", "latest"] = registry.manifests["a/b", digest_of(body)] = "application/json", body
    with pytest.raises(RegistryError, match=r"not understood|more than"):
        find(f"{registry.host}/a/b")


def test_what_is_known_is_not_fetched_again_and_counts_as_no_pull(registry: RegistryServer, tmp_path: Path) -> None:
    image = registry.publish("a/b", [BASE])
    first = find(image.name, cache=tmp_path / "cache")
    fetched = len(registry.paths())
    assert find(image.name, cache=tmp_path / "cache") == first
    assert len(registry.paths()) == fetched
    newer = registry.publish("a/b", [BASE, ONE])
    assert find(image.name, cache=tmp_path / "cache").digest == newer.digest


def test_a_damaged_cache_is_no_hindrance(registry: RegistryServer, tmp_path: Path) -> None:
    image = registry.publish("a/b", [BASE])
    first = find(image.name, cache=tmp_path)
    (file,) = tmp_path.rglob("*.json")
    file.write_bytes(b'{"digest"')
    assert find(image.name, cache=tmp_path) == first


def test_half_of_the_pulls_are_left_for_pulling(registry: RegistryServer, tmp_path: Path) -> None:
    image = registry.publish("a/b", [BASE])
    with Registries(patience=QUICK) as registries:
        remote = RemoteImages(registries)
        registry.pulls = (49, 100)
        with pytest.raises(RegistryError, match="left for pulling"):
            remote.find(image.name, spare_pulls=True)
        assert manifests(registry) == []
        registry.pulls = (50, 100)
        assert remote.find(image.name, spare_pulls=True).digest == image.digest


def test_a_mirror_is_asked_first_and_only_for_docker_hub(registry: RegistryServer) -> None:
    image = registry.publish("library/python", [BASE], "3")
    secret = Access(mirrors=(f"http://{registry.host}/",), credentials=lambda _: ("me", "secret"))
    assert find("python:3", secret).digest == image.digest
    assert not any("Authorization" in one.headers for one in registry.asked)
    assert secret.mirrors_of("ghcr.io") == ()


def test_a_mirror_gets_no_password_of_docker_hub(registry: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.images.registry_access._HUB_ADDRESS", "http://127.0.0.1:9")
    registry.publish("library/python", [BASE], "3")
    registry.wants_token, registry.login = True, ("me", "secret")
    mirror = f"http://{registry.host}"
    with pytest.raises(RegistryError):
        find("python:3", Access(mirrors=(mirror,), credentials=lambda _: ("me", "secret")))
    assert not any("Authorization" in one.headers for one in registry.asked)


def test_the_engines_own_settings_say_how_registries_are_reached() -> None:
    settings = {
        "Mirrors": ["https://mirror.example/"],
        "IndexConfigs": {"plain.example:80": {"Secure": False}, "docker.io": {"Secure": True}},
    }
    access = engine_access({"RegistryConfig": settings})
    assert access.address("plain.example:80") == "http://plain.example:80"
    assert access.address("other.example") == "https://other.example"
    assert access.address("127.9.9.9:5000") == "http://127.9.9.9:5000"
    assert access.mirrors_of("docker.io") == ("https://mirror.example",)
    assert engine_access({}).mirrors == ()


def test_waiting_ends_when_it_is_told_to(registry: RegistryServer) -> None:
    image: Published = registry.publish("a/b", [BASE])
    registry.faults.append(Fault("manifests", times=99, status=429, headers={"Retry-After": "5"}))
    with Registries(patience=QUICK) as registries:
        threading.Timer(0.1, registries.stop.set).start()
        started = time.monotonic()
        with pytest.raises(RegistryError, match="too often"):
            RemoteImages(registries).find(image.name)
        assert time.monotonic() - started < 4


@given(st.binary(max_size=20_000), st.integers(0, 9))
def test_the_end_of_a_gzip_file_tells_what_it_holds(data: bytes, level: int) -> None:
    packed = gzip.compress(data, level)
    size, is_estimate = unpacked_size(len(packed), int.from_bytes(packed[-4:], "little"))
    assert (size, is_estimate) == (len(data), False)


@given(st.integers(1, 20 * 2**30), st.floats(1.1, 4.2))
def test_a_size_beyond_four_gibibytes_is_found_again(compressed: int, ratio: float) -> None:
    size = int(compressed * ratio)
    found, is_estimate = unpacked_size(compressed, size % 2**32)
    assert is_estimate or found == size or abs(size - TYPICAL_RATIO * compressed) > 2**31
    assert found >= compressed


@given(st.text())
def test_any_header_is_a_challenge_or_none(header: str) -> None:
    found = parse_challenge(header)
    assert found is None or found[0] in ("basic", "bearer")


words = st.from_regex(r"[A-Za-z0-9:/.,= _-]{0,30}", fullmatch=True)


@given(words.filter(bool), words, words)
def test_a_challenge_is_read_as_it_was_written(realm: str, service: str, scope: str) -> None:
    found = parse_challenge(f'Bearer realm="{realm}",service="{service}", scope="{scope}"')
    assert found == ("bearer", {"realm": realm, "service": service, "scope": scope})


@given(st.text())
def test_any_retry_after_is_a_wait_or_none(header: str) -> None:
    found = seconds_to_wait(header)
    assert found is None or found >= 0


def test_a_retry_after_is_seconds_or_a_date() -> None:
    assert seconds_to_wait("120") == 120
    assert seconds_to_wait(formatdate(time.time() - 60, usegmt=True)) == 0
    assert 50 < (seconds_to_wait(formatdate(time.time() + 60, usegmt=True)) or 0) <= 60
    assert seconds_to_wait("soon") is None
    assert seconds_to_wait(None) is None
