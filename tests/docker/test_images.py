"""`evals images`: a real engine pulls from a real registry of the test's own, under names of the test's own."""

import json
import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from images_desk import ROW, Desk, as_user, desk, engine_info, image_id, layer, size_of
from real_things import PATIENCE, end
from registry_server import Fault, Published, digest_of

from evals.images.layers import local_chains
from evals.images.pulled_images import PulledImages, engine_identity
from evals.images.using import use_image
from runners.docker_engine import ImageUnavailableError, ensure_image

__all__ = ["as_user", "desk"]


def test_status_says_what_is_missing_and_what_it_costs_and_pulls_nothing(desk: Desk) -> None:
    base, one, two = layer(), layer(), layer()
    images = desk.publish("one", base, one), desk.publish("two", base, two)
    found = desk.images("status", "--json")
    assert found.code == 1, found.err
    status = json.loads(found.out)
    assert status["here"] == []
    assert [missing["digest"] for missing in status["missing"]] == [image.digest for image in images]
    assert status["cost"]["on_disk"] == len(base) + len(one) + len(two)
    packed = {*images[0].layers, *images[1].layers}
    assert status["cost"]["download"] == sum(len(one) for one in packed)
    assert status["cost"]["is_estimate"] is False
    assert desk.has(*images) == [False, False]
    assert not (desk.console.home / "data").exists()


def test_an_image_that_is_removed_while_it_is_looked_at_is_no_error(client: DockerClient) -> None:
    api: Any = client.api

    def remove(names: list[str]) -> None:
        for name in names:
            api.remove_image(name)

    for _ in range(5):
        here = [str(json.loads(api.import_image_from_data(layer()))["status"]) for _ in range(10)]
        removing = threading.Thread(target=remove, args=[here])
        removing.start()
        found = local_chains(client)
        removing.join()
        assert found


def test_status_counts_what_is_here_once_and_only_the_rest_as_missing(desk: Desk, client: DockerClient) -> None:
    base, one, two, three = layer(), layer(), layer(), layer()
    images = [desk.publish(name, base, own) for name, own in (("one", one), ("two", two), ("three", three))]
    assert desk.images("pull", only="1,2").code == 0
    status = json.loads(desk.images("status", "--json").out)
    assert [here["digest"] for here in status["here"]] == [images[0].digest, images[1].digest]
    assert status["here_size"] == size_of(base, one, two)
    assert status["cost"]["on_disk"] == len(three)
    info = engine_info(client)
    if Path(info["DockerRootDir"]).exists() and info["Name"] == os.uname().nodename:
        assert status["free"] > 0
    said = desk.images("status").out
    assert "2 of 3 images are here: 300 KiB, shared layers counted once" in said
    assert re.search(r"1 are missing: \d+ KiB to download, \d+ KiB on the disk", said)
    assert "free for images: " in said


def test_status_without_a_registry_says_what_is_an_estimate_and_what_is_unknown(desk: Desk) -> None:
    desk.publish("one")
    desk.want("127.0.0.1:9/nowhere/two:1")
    assert "what they cost is unknown" in desk.images("status", "--offline").out
    half = desk.images("status")
    assert "2 are missing" in half.out
    assert "(an estimate: 1 of them are known)" in half.out
    assert "unknown: 127.0.0.1 cannot be asked" in half.out
    assert desk.images("pull", only="1").code == 0
    assert "taken to be like those that are here" in desk.images("status", "--offline").out
    assert desk.images("status", "--offline", only="1").code == 0


def test_pull_brings_what_is_missing_and_records_it_and_does_nothing_twice(desk: Desk) -> None:
    desk.registry.wants_token = True
    one, other = desk.publish("one"), desk.publish("arm", repository="acme/two")
    desk.rows.pop()
    several = desk.registry.publish_index(f"{desk.prefix}/two", "latest", {"amd64": other, "arm64": other})
    desk.want(several.name, "acme/two")
    done = desk.images("pull")
    assert done.code == 0, done.err
    assert "[2/2]" in done.out
    assert desk.has(one, several) == [True, True]
    record = desk.record()
    assert {name: entry["digest"] for name, entry in record.items()} == {
        one.name: one.digest,
        several.name: several.digest,
    }
    assert record[one.name]["image_id"] == image_id(desk.client, one.name)
    desk.registry.asked.clear()
    again = desk.images("pull")
    assert again.code == 0
    assert again.out.count("here already") == 2
    assert desk.registry.asked == []


def test_images_of_a_repository_are_pulled_one_after_another(desk: Desk) -> None:
    for name, repository in (("a", "acme/two"), ("b", "acme/one"), ("c", "acme/two"), ("d", "acme/one")):
        desk.publish(name, repository=repository)
    assert desk.images("pull", "--at-once", "1").code == 0
    fetched = [one.path for one in desk.registry.asked if "/manifests/latest" in one.path]
    order = list(dict.fromkeys(path.split("/")[3] for path in fetched))
    assert order == ["b", "d", "a", "c"]


def test_a_registry_that_is_busy_is_waited_for_as_long_as_it_says(desk: Desk) -> None:
    image = desk.publish("one")
    desk.registry.faults.append(Fault("manifests", times=4, status=429, headers={"Retry-After": "1"}))
    done = desk.images("pull")
    assert done.code == 0, done.err
    assert "the registry asks to wait 1 s" in done.err
    assert desk.has(image) == [True]


def test_nobody_waits_in_vain_for_a_registry_that_has_had_enough(desk: Desk) -> None:
    for name in ("a", "b", "c"):
        desk.publish(name)
    desk.registry.faults.append(Fault("manifests", times=999, status=429, headers={"Retry-After": "3600"}))
    done = desk.images("pull", "--at-once", "1")
    assert done.code == 1
    assert "asks to wait 3600 s" in done.err
    assert done.err.count(": not tried: the registry has been asked too often") == 2
    asked = " ".join(desk.registry.paths() + desk.registry.paths("HEAD"))
    assert "/a/manifests" in asked
    assert "/c/manifests" not in asked


def test_a_layer_that_breaks_off_is_fetched_to_its_end(desk: Desk) -> None:
    image = desk.publish("one")
    digest = digest_of(image.layers[0])
    desk.registry.faults.append(Fault(digest, times=1, cut_after=5000))
    done = desk.images("pull")
    assert done.code == 0, done.err
    assert desk.has(image) == [True]


def test_what_failed_is_listed_and_keeps_nothing_else_from_coming(desk: Desk) -> None:
    desk.want(f"{desk.registry.host}/{desk.prefix}/missing:1")
    desk.want("No Image")
    image = desk.publish("one")
    broken = desk.publish("broken")
    desk.registry.faults.append(Fault("broken/manifests", times=99, status=500))
    done = desk.images("pull", "--tries", "2")
    assert done.code == 1
    assert desk.has(image, broken) == [True, False]
    assert "3 of 4 images are not here; the same command tries them again" in done.err
    listed = done.err.partition("tries them again")[2]
    assert "missing:1: " in listed
    assert "manifest unknown" in listed
    assert "'No Image' is no name of an image" in listed
    assert f"{broken.name}: " in listed
    assert "Traceback" not in done.err
    desk.registry.faults.clear()
    assert desk.images("pull", only="4").code == 0


def test_an_interrupted_pull_is_ended_and_can_be_repeated(desk: Desk) -> None:
    first, second = desk.publish("one"), desk.publish("two", repository="acme/two")
    assert desk.images("pull", only="1").code == 0
    desk.registry.gate.clear()
    process = desk.console._popen(desk.command("pull"), None, {})  # pyright: ignore[reportPrivateUsage]
    assert desk.registry.waiting.wait(PATIENCE)
    done = end(process, signal.SIGINT)
    assert done.code == 130, done
    assert "the same command goes on" in done.err
    assert "Traceback" not in done.err
    assert desk.has(first, second) == [True, False]
    desk.registry.gate.set()
    again = desk.images("pull")
    assert again.code == 0, again.err
    assert desk.has(first, second) == [True, True]


def test_an_image_that_is_another_than_before_is_told(desk: Desk) -> None:
    before = desk.publish("one")
    assert desk.images("pull").code == 0
    desk.remove(before)
    desk.rows.clear()
    after = desk.publish("one")
    done = desk.images("pull")
    assert done.code == 0
    assert f"another image than before: the digest was {before.digest}, and is {after.digest}" in done.err


def test_a_budget_removes_the_least_recently_used_of_ours_and_nothing_else(desk: Desk, as_user: None) -> None:
    images = [desk.publish(name, layer(1000)) for name in ("a", "b", "c", "d")]
    foreign = desk.publish("foreign", layer(1000))
    ensure_image(desk.client, foreign.name)
    for number in ("1", "2", "3"):
        assert desk.images("pull", only=number).code == 0
    use_image(desk.client, images[0].name)
    container = desk.client.containers.create(images[1].name, ["/nothing"])
    try:
        done = desk.images("pull", "--budget", "3200k", only="4")
    finally:
        container.remove()
    assert done.code == 0, done.err
    assert f"removed {images[2].name}, to keep the budget" in done.err
    assert desk.has(*images, foreign) == [True, True, False, True, True]
    assert desk.record()[images[2].name]["removed"]


def test_what_does_not_fit_into_the_budget_fails_and_removes_nothing(desk: Desk) -> None:
    old = desk.publish("old")
    one, two = desk.publish("one", layer(1000)), desk.publish("two", layer(1000))
    assert desk.images("pull", only="1").code == 0
    done = desk.images("pull", "--budget", "1500k", "--at-once", "2", only="2,3")
    assert done.code == 1
    assert sorted(desk.has(one, two)) == [False, True]
    assert "the budget is 1.46 MiB" in done.err
    assert desk.has(old) == [True]
    assert desk.images("pull", "--budget", "much").code == 2


def test_layers_that_are_shared_count_once_for_a_budget(desk: Desk) -> None:
    base = layer(1000)
    images = [desk.publish(name, base, layer(10)) for name in ("a", "b", "c")]
    done = desk.images("pull", "--budget", "1200k")
    assert done.code == 0, done.err
    assert desk.has(*images) == [True, True, True]


def test_prune_removes_ours_only_and_says_first_what_it_would_do(desk: Desk, client: DockerClient) -> None:
    images = [desk.publish(name) for name in ("a", "b", "c")]
    foreign, retagged = desk.publish("foreign"), desk.publish("retagged")
    for number in ("1", "2", "3", "5"):
        assert desk.images("pull", only=number).code == 0
    ensure_image(client, foreign.name)
    desk.remove(retagged)
    api: Any = client.api
    api.tag(foreign.name, retagged.name.rpartition(":")[0], "latest")
    assert desk.images("prune").code == 2
    would = desk.images("prune", "--budget", "250k", "--dry-run")
    assert would.code == 0, would.err
    assert would.out.splitlines()[0] == f"would remove {images[0].name}"
    assert desk.has(*images) == [True, True, True]
    assert desk.images("prune", "--budget", "250k").code == 0
    assert desk.has(*images) == [False, True, True]
    container = client.containers.create(images[1].name, ["/nothing"])
    try:
        everything = desk.images("prune", "--all")
        assert everything.code == 1
        assert desk.has(*images, foreign, retagged) == [False, True, False, True, True]
    finally:
        container.remove()
    assert desk.images("prune", "--all").code == 0
    assert desk.has(*images, foreign, retagged) == [False, False, False, True, True]


def test_a_run_marks_what_it_uses_and_what_it_pulled_is_ours(desk: Desk, as_user: None) -> None:
    image, foreign = desk.publish("one"), desk.publish("foreign")
    ensure_image(desk.client, foreign.name)
    assert use_image(desk.client, image.name) == image_id(desk.client, image.name)
    assert use_image(desk.client, foreign.name) == image_id(desk.client, foreign.name)
    assert set(desk.record()) == {image.name}
    before = desk.record()[image.name]["used"]
    use_image(desk.client, image.name)
    assert desk.record()[image.name]["used"] > before
    assert PulledImages.of(desk.client).engine == engine_identity(engine_info(desk.client))


def test_a_damaged_record_keeps_no_trial_from_its_image(desk: Desk, as_user: None) -> None:
    image = desk.publish("one")
    use_image(desk.client, image.name)
    (file,) = (desk.console.home / "data" / "unbroken" / "images").glob("*.json")
    file.write_text("{")
    assert use_image(desk.client, image.name) == image_id(desk.client, image.name)
    done = desk.images("pull")
    assert done.code == 2
    assert f"{file} is damaged" in done.err


def test_a_missing_image_says_how_to_get_it(client: DockerClient) -> None:
    with pytest.raises(
        ImageUnavailableError, match=r"127.0.0.1:9/no/where:1 .* cannot be pulled(?s:.*)evals images pull"
    ):
        use_image(client, "127.0.0.1:9/no/where:1")


@pytest.fixture
def exported(desk: Desk) -> list[Published]:
    """Images of two repositories that are here: two that share a layer, and one."""
    base = layer(1000)
    images = [desk.publish("a", base, layer()), desk.publish("b", base, layer())]
    images.append(desk.publish("c", repository="acme/two"))
    assert desk.images("pull").code == 0
    return images


@pytest.mark.parametrize("place", ["archives", "all.tar"])
def test_exported_images_come_back_as_they_were(desk: Desk, exported: list[Published], place: str) -> None:
    ids = [image_id(desk.client, image.name) for image in exported]
    done = desk.images("export", desk.folder / place)
    assert done.code == 0, done.err
    archives = sorted(path.name for path in (desk.folder / place).parent.rglob("*.tar"))
    assert archives == (["all.tar"] if place == "all.tar" else ["acme__one.tar", "acme__two.tar"])
    assert sum(path.stat().st_size for path in desk.folder.rglob("*.tar")) < 1.6 * 1000 * 1024  # what is shared, once
    for image in exported:
        desk.remove(image)
    desk.registry.asked.clear()
    back = desk.images("import", desk.folder / place)
    assert back.code == 0, back.err
    assert [image_id(desk.client, image.name) for image in exported] == ids
    assert "here already" in desk.images("import", desk.folder / place).out
    assert desk.registry.asked == []


def test_a_place_that_cannot_be_written_to_is_named(desk: Desk, exported: list[Published]) -> None:
    file = desk.folder / "file"
    file.touch()
    done = desk.images("export", file)
    assert done.code == 1
    assert f"{file}: File exists" in done.err
    assert "engine" not in done.err


def test_an_export_that_is_repeated_writes_only_what_is_not_whole(desk: Desk, exported: list[Published]) -> None:
    place = desk.folder / "archives"
    assert desk.images("export", place).code == 0
    one, two = place / "acme__one.tar", place / "acme__two.tar"
    kept = one.stat().st_ino
    two.write_bytes(two.read_bytes()[:-1])
    (place / ".acme__two.tar.partial").write_bytes(b"of an export that was killed")
    again = desk.images("export", place)
    assert again.code == 0, again.err
    assert "acme__one.tar: is there already" in again.out
    assert one.stat().st_ino == kept
    assert sorted(path.name for path in place.iterdir()) == ["acme__one.tar", "acme__two.tar", "index.json"]
    assert "here already" in desk.images("import", place).out


def cut(data: bytes) -> bytes:
    return data[:-1]


def changed(data: bytes) -> bytes:
    return b"x" + data[1:]


@pytest.mark.parametrize("damage", [cut, changed, None])
def test_an_archive_that_is_not_as_it_was_written_is_not_loaded(
    desk: Desk, exported: list[Published], damage: Callable[[bytes], bytes] | None
) -> None:
    place = desk.folder / "archives"
    assert desk.images("export", place).code == 0
    for image in exported:
        desk.remove(image)
    archive = place / "acme__one.tar"
    if damage:
        archive.write_bytes(damage(archive.read_bytes()))
    else:
        archive.unlink()
    done = desk.images("import", place)
    assert done.code == 1
    assert "acme__one.tar: " in done.out
    assert "copy it once more" in done.out
    assert desk.has(*exported) == [False, False, True]


def test_an_import_takes_no_name_away_unasked(desk: Desk, exported: list[Published], client: DockerClient) -> None:
    place = desk.folder / "archives"
    assert desk.images("export", place).code == 0
    theirs, ours = image_id(client, exported[2].name), image_id(client, exported[0].name)
    desk.remove(exported[0])
    api: Any = client.api
    api.tag(exported[2].name, exported[0].name.rpartition(":")[0], "latest")
    done = desk.images("import", place)
    assert done.code == 1
    assert "--force" in done.out
    assert image_id(client, exported[0].name) == theirs
    assert desk.images("import", place, "--force").code == 0
    assert image_id(client, exported[0].name) == ours


def test_what_cannot_be_exported_or_imported_is_told(desk: Desk) -> None:
    desk.publish("one")
    done = desk.images("export", desk.folder / "archives")
    assert done.code == 1
    assert "`evals images pull` gets them" in done.err
    nothing = desk.images("import", desk.folder)
    assert nothing.code == 2
    assert "there is no index" in " ".join(nothing.err.split())
    (desk.folder / "index.json").write_text(
        json.dumps({"archives": [{"file": "../x.tar", "sha256": "0" * 64, "size": 1, "images": []}]})
    )
    outside = desk.images("import", desk.folder)
    assert outside.code == 2
    assert "no name of an archive" in outside.err


def test_without_an_engine_every_command_says_how_to_get_one(desk: Desk) -> None:
    desk.publish("one")
    (desk.folder / "index.json").write_text("{}")
    commands = ["status"], ["pull"], ["prune", "--all"], ["export", desk.folder], ["import", desk.folder]
    for command, *arguments in commands:
        done = desk.images(str(command), *arguments, DOCKER_HOST="unix:///nowhere/docker.sock")
        assert done.code == 1, command
        assert "scripts/docker_engine" in done.err
        assert "Traceback" not in done.err


def test_status_of_pro_rows_looks_for_their_images(desk: Desk) -> None:
    image = desk.publish("pro")
    desk.rows[:] = [
        {
            **{name: ROW[name] for name in ("repo", "base_commit", "problem_statement", "patch", "test_patch")},
            "instance_id": "instance_a", "fail_to_pass": "[]", "pass_to_pass": "[]", "before_repo_set_cmd": "",
            "selected_test_files_to_run": "[]", "image": image.name,
        }
    ]  # fmt: skip
    done = desk.images("status")
    assert done.code == 1, done.err
    assert f"missing  {image.name}" in done.out
