"""The networks of containers: an allowlist lets through what is on it, and nothing else by any way."""

import asyncio
import os
import shlex
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from docker.errors import NotFound
from docker.models.containers import Container
from docker.models.networks import Network

from runners.bridge_firewall import BridgeFirewall
from runners.container import ContainerSettings
from runners.docker_engine import OWNER_LABEL, RUN_LABEL
from runners.docker_sandbox import DockerSandbox
from runners.networks import SandboxNetwork, open_network
from runners.owner import this_process
from runners.sandbox_options import SandboxOptionError, SandboxOptions

IMAGE = "unbroken/base:1"
ALLOWED = SandboxOptions.parse("allowlist", ["127.0.0.1", "allowed.invalid"])
FETCH = """
import ssl, sys, urllib.request
context = ssl._create_unverified_context()
try:
    print(urllib.request.build_opener(urllib.request.ProxyHandler(), urllib.request.HTTPSHandler(context=context))
          .open(sys.argv[1], timeout=20).read().decode())
except OSError as error:
    print(f"failed: {error}")
"""


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"this is {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass


@pytest.fixture
def site() -> Iterator[str]:
    """A web server at this machine's loopback, which a container could not reach by itself."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        yield from _serving(server, "http")


@pytest.fixture
def secure_site(tmp_path: Path) -> Iterator[str]:
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl to make a certificate with")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-days", "2",
         "-keyout", "key.pem", "-out", "certificate.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        yield from _serving(server, "https")


def _serving(server: ThreadingHTTPServer, scheme: str) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"{scheme}://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()


@pytest.fixture
async def network(client: DockerClient) -> AsyncIterator[SandboxNetwork]:
    async with open_network(client, ALLOWED, run="test-network") as opened:
        yield opened


async def start(client: DockerClient, network: SandboxNetwork) -> DockerSandbox:
    return await DockerSandbox.start(client, network.container(ContainerSettings(image=IMAGE, directory="/srv")))


@pytest.fixture
async def sandbox(client: DockerClient, network: SandboxNetwork) -> AsyncIterator[DockerSandbox]:
    opened = await start(client, network)
    yield opened
    await opened.close()


async def said(sandbox: DockerSandbox, command: str) -> str:
    return (await sandbox.shell(command, timeout=60)).output.decode().strip()


async def fetched(sandbox: DockerSandbox, url: str, environment: str = "") -> str:
    return await said(sandbox, f"no_proxy= NO_PROXY= {environment} python3 -c {shlex.quote(FETCH)} {url}")


async def connected(sandbox: DockerSandbox, host: str, port: int) -> bool:
    """Whether a direct connection comes about."""
    return await said(sandbox, f"timeout 5 bash -c 'echo </dev/tcp/{host}/{port}' 2>/dev/null && echo yes") == "yes"


def gateway(network: SandboxNetwork) -> str:
    assert network.proxy is not None
    return network.proxy.url.removeprefix("http://").rpartition(":")[0]


async def test_allowed_hosts_are_reached_and_others_refused_in_words(
    network: SandboxNetwork, sandbox: DockerSandbox, site: str
) -> None:
    assert await fetched(sandbox, f"{site}/page") == "this is /page"
    for url in ("http://127.0.0.2/", "https://other.invalid/", "http://169.254.169.254/latest/meta-data"):
        answer = await fetched(sandbox, url)
        assert "403" in answer
        assert "is not among the hosts that can be reached from here: allowed.invalid, 127.0.0.1" in answer
    assert "allowed.invalid cannot be resolved" in await fetched(sandbox, "https://allowed.invalid/")
    assert network.refusals == {"127.0.0.2": 1, "other.invalid": 1, "169.254.169.254": 1}


async def test_an_encrypted_connection_goes_through_a_tunnel(sandbox: DockerSandbox, secure_site: str) -> None:
    assert await fetched(sandbox, f"{secure_site}/secret") == "this is /secret"
    other = secure_site.replace("127.0.0.1", "127.0.0.2")
    assert "Tunnel connection failed: 403 Forbidden: 127.0.0.2 is not among" in await fetched(sandbox, other)


async def test_there_is_no_way_around_the_proxy(network: SandboxNetwork, sandbox: DockerSandbox, site: str) -> None:
    assert network.proxy is not None
    assert await connected(sandbox, gateway(network), network.proxy.port)
    for host, port in (("8.8.8.8", 53), ("1.1.1.1", 443), ("172.17.0.1", int(site.rpartition(":")[2]))):
        assert not await connected(sandbox, host, port)
    assert await said(sandbox, "cat /proc/net/if_inet6") == ""
    assert "failed" in await fetched(sandbox, site, "http_proxy= HTTP_PROXY=")


async def test_names_cannot_be_looked_up_since_a_lookup_can_carry_data_out(sandbox: DockerSandbox) -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as resolver:
        try:
            resolver.bind(("127.0.0.1", 53))  # where the engine would ask on behalf of a container
        except OSError as error:
            pytest.skip(f"no resolver can be put in the engine's way: {error}")
        resolver.settimeout(0.1)
        found = await said(sandbox, "timeout 20 getent hosts data.allowed.invalid || echo none")
        assert found == "none"
        with pytest.raises(TimeoutError):
            resolver.recv(512)


async def test_containers_do_not_reach_one_another(client: DockerClient, network: SandboxNetwork) -> None:
    one, other = await start(client, network), await start(client, network)
    try:
        await said(one, "cd / && nohup python3 -m http.server 8000 >/dev/null 2>&1 &")
        address = await said(one, "hostname -i")
        for _ in range(100):
            if await connected(one, address, 8000):
                break
            await asyncio.sleep(0.05)
        assert await connected(one, address, 8000)
        assert not await connected(other, address, 8000)
        assert "403" in await fetched(other, f"http://{address}:8000/")
    finally:
        await asyncio.gather(one.close(), other.close())


async def test_services_of_this_machine_are_closed_where_we_may_close_them(
    network: SandboxNetwork, sandbox: DockerSandbox
) -> None:
    with socket.create_server(("0.0.0.0", 0)) as service:
        port = service.getsockname()[1]
        with socket.create_connection((gateway(network), port), timeout=5):
            pass
        if network.warning:
            assert "only root can close that" in network.warning
            assert os.geteuid() != 0 or not shutil.which("iptables")
        else:
            assert not await connected(sandbox, gateway(network), port)
            assert not await connected(sandbox, socket.gethostbyname(socket.gethostname()), port)


def networks(client: DockerClient, run: str) -> list[Network]:
    return client.networks.list(filters={"label": f"{RUN_LABEL}={run}"})  # pyright: ignore[reportUnknownMemberType]


def rules() -> str:
    if os.geteuid() != 0 or not shutil.which("iptables"):
        return ""
    return subprocess.run(["iptables", "-w", "-S"], capture_output=True, text=True, check=True).stdout


async def test_nothing_is_left_of_a_network_even_when_a_container_is(client: DockerClient) -> None:
    left: list[Container] = []
    async with open_network(client, ALLOWED, run="test-left") as network:
        (found,) = networks(client, "test-left")
        assert found.name == network.name
        assert found.attrs["Labels"][OWNER_LABEL] == str(this_process())
        assert "unbroken" not in network.name
        interface = found.attrs["Options"]["com.docker.network.bridge.name"]
        left.append(client.containers.run(IMAGE, ["sleep", "300"], network=network.name, detach=True, init=True))
    try:
        assert network.leftovers == []
        with pytest.raises(NotFound):
            client.networks.get(network.name)
        assert interface not in rules()
    finally:
        left[0].remove(force=True)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("iptables"), reason="only root has rules to leave behind")
async def test_rules_of_a_network_that_is_gone_are_removed_with_the_next_one(client: DockerClient) -> None:
    stale = BridgeFirewall("sandbox-none00", "10.0.0.1", [1])
    assert await stale.open() == ""
    assert "sandbox-none00" in rules()
    async with open_network(client, ALLOWED):
        assert "sandbox-none00" not in rules()


async def test_a_start_that_is_cancelled_leaves_no_network(client: DockerClient) -> None:
    async def enter() -> None:
        async with open_network(client, ALLOWED, run="test-cancelled-network"):
            await asyncio.sleep(0)

    starting = asyncio.create_task(enter())
    await asyncio.sleep(0.02)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert networks(client, "test-cancelled-network") == []


async def test_limits_hold_inside(client: DockerClient) -> None:
    options = SandboxOptions.parse("none", cpus=0.5, memory="64m", processes=50)
    async with open_network(client, options) as network:
        sandbox = await start(client, network)
        try:
            assert await said(sandbox, "ls /sys/class/net") == "lo"
            assert client.containers.get(sandbox.container_id).attrs["HostConfig"]["NanoCpus"] == 500_000_000
            eaten = await sandbox.exec("head -c 200M /dev/zero | tail -c 200M | wc -c", timeout=60)
            assert eaten.output.split()[-1:] != [str(200 << 20).encode()]
            started = await sandbox.exec("for n in $(seq 80); do sleep 5 & done; wait", timeout=60)
            assert b"fork" in started.output
        finally:
            await sandbox.close()


async def test_limits_that_the_engine_cannot_set_are_refused_at_the_start(client: DockerClient) -> None:
    with pytest.raises(SandboxOptionError, match="4000 processors were asked for"):
        async with open_network(client, SandboxOptions(cpus=4000)):
            pytest.fail("it was opened")


@pytest.fixture
def served_on_all_addresses() -> Iterator[int]:
    with ThreadingHTTPServer(("0.0.0.0", 0), Page) as server:
        for url in _serving(server, "http"):
            yield int(url.rpartition(":")[2])


@pytest.mark.parametrize("options", [SandboxOptions(network="allowlist"), SandboxOptions(network="bridge"), ALLOWED])
async def test_a_service_of_ours_is_reached_where_it_is_admitted(
    client: DockerClient, served_on_all_addresses: int, options: SandboxOptions
) -> None:
    async with open_network(client, options) as network:
        sandbox, host = await start(client, network), await network.host_address()
        with ThreadingHTTPServer((host, 0), Page) as server:
            for url in _serving(server, "http"):
                port = int(url.rpartition(":")[2])
                await network.admit(port)
                assert await fetched(sandbox, f"http://{host}:{port}/x", f"no_proxy={host}") == "this is /x"
        if options.network == "allowlist" and rules():
            assert not await connected(sandbox, host, served_on_all_addresses)
        if options.network == "allowlist" and not options.allowed_hosts:
            assert await said(sandbox, "env | grep -i proxy; echo $RES_OPTIONS") == "timeout:1 attempts:1"
        await sandbox.close()
