"""A running container changes networks: in each it reaches what that one has, and nothing of the others'."""

import asyncio
import os
import shlex
import shutil
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, closing, suppress
from uuid import uuid4

import pytest
from docker import DockerClient

from runners.container import ContainerSettings
from runners.docker_engine import RUN_LABEL
from runners.docker_sandbox import DockerSandbox
from runners.network_switch import NetworkSwitch, engine_resolvers, switchable
from runners.networks import SandboxNetwork, open_network
from runners.private_room import PrivateRoom
from runners.sandbox_options import SandboxOptions
from tools.sandbox import SandboxError

SETTINGS = ContainerSettings(image="unbroken/base:1", directory="/srv", user="root", rights="usual", volumes=("/logs",))
MAY_CLOSE = os.geteuid() == 0 and shutil.which("iptables") is not None
ASK = "RES_OPTIONS='timeout:1 attempts:1' timeout 20 getent hosts a-name.invalid"
ANSWERED = "203.0.113.7"


class Service:
    """Listens on one address of this machine, and keeps what is sent to it."""

    def __init__(self, address: str) -> None:
        self.listener = socket.create_server((address, 0))
        self.heard = b""
        self.has_heard = threading.Event()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    @property
    def port(self) -> int:
        return self.listener.getsockname()[1]

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.hear, args=(connection,), daemon=True).start()

    def hear(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while piece := connection.recv(4096):
                if piece.startswith(b"GET "):
                    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello\n")
                    return
                self.heard += piece
                self.has_heard.set()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


class Resolver:
    """Answers every question about a name, and counts them."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.socket.bind((address, 53))
        except OSError as error:
            self.socket.close()
            pytest.skip(f"no resolver can be put at {address}: {error}")
        self.asked = 0
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        while True:
            question, client = self.socket.recvfrom(512)
            if question == b"over":
                return
            self.asked += 1
            end = question.index(b"\0", 12) + 5
            is_ipv4 = question[end - 4 : end - 2] == b"\0\1"
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(ANSWERED) if is_ipv4 else b""
            head = question[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_ipv4 else b"\0\0") + b"\0\0\0\0"
            self.socket.sendto(head + question[12:end] + answer, client)

    def close(self) -> None:
        self.socket.sendto(b"over", self.socket.getsockname())
        self.thread.join()
        self.socket.close()


@pytest.fixture
async def networks(client: DockerClient) -> AsyncIterator[dict[str, SandboxNetwork]]:
    run = f"test-{uuid4()}"
    async with AsyncExitStack() as stack:
        options = {
            "none": SandboxOptions.parse("none"),
            "public": SandboxOptions.parse("bridge"),
            "allowlist": SandboxOptions.parse("allowlist", ["127.0.0.1"]),
        }
        yield {
            name: await stack.enter_async_context(open_network(client, each, run=run, ours=name == "public"))
            for name, each in options.items()
        }
    assert not client.networks.list(filters={"label": f"{RUN_LABEL}={run}"})  # pyright: ignore[reportUnknownMemberType]


@pytest.fixture
def outside(networks: dict[str, SandboxNetwork]) -> Iterator[Service]:
    with closing(Service(networks["public"].gateway)) as service:
        yield service


@pytest.fixture
def site() -> Iterator[Service]:
    with closing(Service("127.0.0.1")) as service:
        yield service


async def said(sandbox: DockerSandbox, command: str, given: NetworkSwitch | None = None) -> str:
    environment = given.environment if given else None
    return (await sandbox.exec(command, timeout=60, environment=environment)).output.decode().strip()


def fetching(url: str) -> str:
    program = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=20).read().decode())"
    return f"python3 -c {shlex.quote(program)} {url}"


def through_proxy(url: str) -> str:
    return f"no_proxy= NO_PROXY= {fetching(url)}"


async def reached(sandbox: DockerSandbox, host: str, port: int) -> bool:
    """Whether something answers there, without a proxy."""
    command = f"timeout 5 bash -c 'exec 3<>/dev/tcp/{host}/{port}' 2>/dev/null && echo yes"
    return await said(sandbox, command) == "yes"


async def test_each_network_holds_after_the_switch_and_no_other(
    client: DockerClient, networks: dict[str, SandboxNetwork], outside: Service, site: Service
) -> None:
    none, public, allowlist = networks["none"], networks["public"], networks["allowlist"]
    with closing(Resolver(public.gateway)) as resolver:
        settings = switchable(SETTINGS, [none, public, allowlist], [public.gateway])
        sandbox = await DockerSandbox.start(client, settings)
        room = await PrivateRoom.open(client.api, settings, sandbox.container_id, "mount -t tmpfs room /logs", {})
        try:
            switch = NetworkSwitch(client, sandbox.container_id, none)
            await sandbox.shell("cd / && nohup python3 -m http.server 8000 >/dev/null 2>&1 &", timeout=60)
            assert not await reached(sandbox, public.gateway, outside.port)
            assert await said(sandbox, f"{ASK} || echo unknown") == "unknown"

            await switch.to(public)
            assert await reached(sandbox, public.gateway, outside.port)
            assert (await said(sandbox, ASK)).split()[0] == ANSWERED
            assert await reached(sandbox, "sandbox", 8000)
            assert "http_proxy" not in await said(sandbox, "env", switch)
            talking = (
                f"exec 3<>/dev/tcp/{public.gateway}/{outside.port}; while echo still here >&3; do sleep 0.05; done"
            )
            await sandbox.shell(f"nohup bash -c {shlex.quote(talking)} >/dev/null 2>&1 &", timeout=60)
            await asyncio.to_thread(outside.has_heard.wait)

            await switch.to(allowlist)
            heard, asked = len(outside.heard), resolver.asked
            assert await said(sandbox, through_proxy(f"http://127.0.0.1:{site.port}/"), switch) == "hello"
            assert "403" in await said(sandbox, through_proxy("http://127.0.0.2/"), switch)
            assert not MAY_CLOSE or not await reached(sandbox, public.gateway, outside.port)
            assert not await reached(sandbox, "8.8.8.8", 53)
            assert await said(sandbox, f"{ASK} || echo unknown") == "unknown" or not MAY_CLOSE
            assert await reached(sandbox, "sandbox", 8000)
            assert await reached(sandbox, "localhost", 8000)

            await switch.to(none)
            assert await said(sandbox, "tail -n +3 /proc/net/dev | cut -d: -f1") == "lo"
            assert await said(sandbox, f"{ASK} || echo unknown") == "unknown"
            assert await said(sandbox, "getent hosts sandbox || echo unknown", switch) == "unknown"
            assert await reached(sandbox, "localhost", 8000)
            assert len(outside.heard) == heard, "a connection from before the switch still carries something"
            assert resolver.asked == asked or not MAY_CLOSE

            await switch.to(public)
            assert (await said(sandbox, ASK)).split()[0] == ANSWERED
            await room.run(fetching(f"http://{public.gateway}:{outside.port}/"))
            assert b"hello" in (await room.receive())[1], "the room is where its container is"
        finally:
            await asyncio.gather(room.close(), sandbox.close())


async def test_a_switch_that_fails_says_so(client: DockerClient, networks: dict[str, SandboxNetwork]) -> None:
    settings = switchable(SETTINGS, [networks["none"], networks["public"]], ["203.0.113.1"])
    sandbox = await DockerSandbox.start(client, settings)
    switch = NetworkSwitch(client, sandbox.container_id, networks["none"])
    await sandbox.close()
    with pytest.raises(SandboxError, match="No such container"):
        await switch.to(networks["public"])
    assert switch.network is networks["none"]


async def test_the_engines_own_bridge_is_no_network_to_switch_to(client: DockerClient) -> None:
    bridge = SandboxNetwork(client, SandboxOptions.parse("bridge"), "bridge")
    with pytest.raises(ValueError, match="the engine's own network bridge"):
        switchable(SETTINGS, [bridge], [])


async def test_a_container_is_given_the_name_servers_that_any_other_has(client: DockerClient) -> None:
    found = await engine_resolvers(client, SETTINGS.image)
    there = client.containers.run(SETTINGS.image, ["cat", "/etc/resolv.conf"], network="bridge", remove=True)
    assert found
    assert [line.split()[1] for line in there.decode().splitlines() if line.startswith("nameserver")] == list(found)
