"""Layers counted once, and which images go for a budget."""

import hashlib
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from evals.images.eviction import OwnImage, choose
from evals.images.layers import LocalImage, chain_ids, layer_sizes, size_of
from evals.images.pulled_images import engine_identity
from evals.images.remote_images import RemoteImage, RemoteLayer
from evals.images.sizes import shown
from evals.images.status import cost, free_space

SIZES = {name: size for size, name in enumerate("abcdefgh", 1)}
stacks = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4, unique=True)


def own(number: int, layers: Sequence[str]) -> OwnImage:
    sizes = {layer: SIZES[layer] for layer in layers}
    return OwnImage(LocalImage(f"image{number}", f"id{number}", None, sizes), used=float(number))


@given(st.lists(stacks, max_size=6), st.integers(0, 40), stacks, st.sets(st.integers(0, 5)))
def test_the_least_recently_used_go_until_it_fits_and_no_more(
    layers: list[list[str]], budget: int, arriving: list[str], kept: set[int]
) -> None:
    images = [own(number, stack) for number, stack in enumerate(layers)]
    new = {layer: SIZES[layer] for layer in arriving}
    names = {f"image{number}" for number in kept}
    choice = choose(images, budget, new, names)
    free = [image for image in images if image.name not in names]
    assert list(choice.going) == free[: len(choice.going)]
    left = [image for image in images if image not in choice.going]
    assert choice.size == size_of([new, *(image.image.layers for image in left)])
    assert choice.size <= budget or len(choice.going) == len(free)
    if choice.going:
        one_less = [*left, choice.going[-1]]
        assert size_of([new, *(image.image.layers for image in one_less)]) > budget


def test_a_layer_is_the_same_only_on_the_same_layers() -> None:
    assert chain_ids([]) == []
    first, second = chain_ids(["sha256:a", "sha256:b"])
    assert first == "sha256:a"
    assert second == f"sha256:{hashlib.sha256(b'sha256:a sha256:b').hexdigest()}"
    assert second != chain_ids(["sha256:c", "sha256:b"])[1]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["RUN x", "ENV A=1", "/bin/sh -c #(nop)  CMD [x]", ""]))))
def test_the_sizes_of_layers_are_all_that_the_history_tells(entries: list[tuple[int, str]]) -> None:
    history = [{"Size": size, "CreatedBy": instruction} for size, instruction in entries]
    least = sum(size > 0 for size, _ in entries)
    for count in range(least, len(entries) + 2):
        sizes = layer_sizes(history, count)
        assert len(sizes) == count
        assert sum(sizes) == sum(size for size, _ in entries)
        assert [size for size in sizes if size] == [size for size, _ in entries if size]


def test_an_empty_layer_stands_where_its_instruction_stood() -> None:
    history = [
        {"Size": 10, "CreatedBy": "/bin/sh -c #(nop) ADD file"},
        {"Size": 0, "CreatedBy": "/bin/sh -c #(nop)  ENV A=1"},
        {"Size": 0, "CreatedBy": "WORKDIR /testbed"},
        {"Size": 5, "CreatedBy": "RUN /bin/sh -c make"},
        {"Size": 0, "CreatedBy": "CMD [bash]"},
    ]
    assert layer_sizes(history, 3) == [10, 0, 5]


def remote(*names: str) -> RemoteImage:
    layers = [
        RemoteLayer(chain=name, digest=name, compressed=10, unpacked=SIZES[name] * 10, is_estimate=False)
        for name in names
    ]
    return RemoteImage(digest="sha256:0", layers=layers)


def test_the_cost_counts_what_is_shared_once_and_what_is_here_not_at_all() -> None:
    found = cost([remote("a", "b", "c"), remote("a", "b", "d")], 2, [], {"a"})
    assert (found.download, found.on_disk, found.is_estimate) == (30, 90, False)


def test_what_is_not_known_is_estimated_and_said_to_be_or_is_unknown() -> None:
    some = cost([remote("a", "b")], 3, [], set())
    assert (some.known, some.download, some.on_disk, some.is_estimate) == (1, 60, 90, True)
    like_here = cost([], 3, [own(1, "ab").image, own(2, "ac").image], set())
    assert (like_here.known, like_here.download, like_here.on_disk, like_here.is_estimate) == (0, None, 9, True)
    none = cost([], 3, [], set())
    assert (none.download, none.on_disk) == (None, None)


def test_free_space_is_only_told_of_an_engine_on_this_machine() -> None:
    assert free_space({"DockerRootDir": "/", "Name": "another-machine"}) is None
    assert free_space({}) is None


def test_engines_are_told_apart() -> None:
    docker = {"ID": "A:B", "Name": "x", "DockerRootDir": "/var/lib/docker"}
    assert engine_identity(docker) != engine_identity(docker | {"ID": "A:C"})
    podman = {"ID": "1", "Name": "x", "DockerRootDir": "/y", "BuildahVersion": "1.2"}
    assert engine_identity(podman) == engine_identity(podman | {"ID": "2"})


def test_sizes_are_shown_with_three_digits() -> None:
    assert [shown(size) for size in (0, 999, 1000, 2**20, 15 * 2**30, 2**40 * 2000)] == [
        *("0 B", "999 B", "0.98 KiB", "1.00 MiB", "15.0 GiB", "2000 TiB"),
    ]
