"""What the engine says of a pull, and whether it is worth trying again."""

import pytest

from evals.images.engine_pull import Answer, answer_of, pull_error

# The words of Docker 20.10 to 28 and of registries behind it, as they reach a client.
FINAL = [
    "manifest for a/b:1 not found: manifest unknown: manifest unknown",
    "pull access denied for a/b, repository does not exist or may require 'docker login': denied",
    "unauthorized: authentication required",
    "no matching manifest for linux/arm64/v8 in the manifest list entries",
    "failed to register layer: write /x: no space left on device",
    "Get https://x/v2/: x509: certificate signed by unknown authority",
    'Get "https://x:5000/v2/": http: server gave HTTP response to HTTPS client',
]
PASSING = [
    "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating",
    "error parsing HTTP 429 response body: unexpected end of JSON input",
    "received unexpected HTTP status: 503 Service Unavailable",
    "Get https://x/v2/: net/http: TLS handshake timeout",
    "dial tcp 1.2.3.4:443: connect: connection refused",
    "unexpected EOF",
    "filesystem layer verification failed for digest sha256:0",
    "dial tcp: lookup registry-1.docker.io: Temporary failure in name resolution",
]


@pytest.mark.parametrize("reason", FINAL)
def test_what_stays_as_it_is_is_not_tried_again(reason: str) -> None:
    assert not pull_error(reason).transient


@pytest.mark.parametrize("reason", PASSING)
def test_what_may_pass_is_tried_again(reason: str) -> None:
    assert pull_error(reason).transient


def test_the_reasons_that_concern_other_images_as_well_are_known() -> None:
    assert [pull_error(reason).is_disk_full for reason in FINAL].count(True) == 1
    assert [pull_error(reason).is_rate_limited for reason in PASSING] == [True, True, *[False] * 6]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (["Pulling from a/b", "Digest: sha256:12", "Status: Downloaded newer image for a/b:1"], Answer("sha256:12")),
        (["Digest: sha256:12", "Status: Image is up to date for a/b:1"], Answer("sha256:12", was_here=True)),
        (["Pulling fs layer", "Pull complete", ""], Answer()),  # Podman
    ],
)
def test_what_the_engine_says_of_a_pull_is_understood(said: list[str], answer: Answer) -> None:
    assert answer_of(said) == answer
