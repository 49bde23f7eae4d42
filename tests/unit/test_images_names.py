"""Names of images: what Docker takes is taken, and means the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.images.names import ImageName, ImageNameError

hosts = st.from_regex(r"[a-z]{1,5}(\.[a-z]{2,3}|:[1-9][0-9]{0,3})", fullmatch=True)
repositories = st.from_regex(r"[a-z0-9]{1,6}([._/-][a-z0-9]{1,6}){0,3}", fullmatch=True)
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
digests = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "registry", "repository", "reference"),
    [
        ("python", "docker.io", "library/python", "latest"),
        ("docker.io/python:3", "docker.io", "library/python", "3"),
        ("index.docker.io/a/b", "docker.io", "a/b", "latest"),
        (
            *("swebench/sweb.eval.x86_64.django_1776_django-1:latest", "docker.io"),
            *("swebench/sweb.eval.x86_64.django_1776_django-1", "latest"),
        ),
        ("jefzda/sweap-images:Owner.x-1", "docker.io", "jefzda/sweap-images", "Owner.x-1"),
        ("localhost/a:1", "localhost", "a", "1"),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000", "a/b", "latest"),
        ("[::1]:5000/a", "[::1]:5000", "a", "latest"),
        (f"ghcr.io/a/b:1@sha256:{'0' * 64}", "ghcr.io", "a/b", f"sha256:{'0' * 64}"),
    ],
)
def test_a_name_means_what_docker_takes_it_for(text: str, registry: str, repository: str, reference: str) -> None:
    assert ImageName.parse(text) == ImageName(registry, repository, reference)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No Image",
        "UPPER",
        "a:",
        "a/",
        "/a",
        "a//b",
        "a:b:c",
        "a@sha256:12",
        "a..b",
        "x.y/",
        "a:-t",
        "../../etc",
        "a?b",
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ImageNameError, match="is no name of an image"):
        ImageName.parse(text)


@given(hosts, repositories, st.one_of(tags, digests))
def test_a_name_is_read_as_it_was_written(host: str, repository: str, reference: str) -> None:
    name = ImageName(host, repository, reference)
    assert ImageName.parse(str(name)) == name


@given(st.text())
def test_any_text_is_a_name_or_an_error(text: str) -> None:
    try:
        name = ImageName.parse(text)
    except ImageNameError:
        return
    assert ImageName.parse(str(name)) == name
