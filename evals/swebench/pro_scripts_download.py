"""The files of SWE-bench Pro's evaluation by commit: fetched once over HTTPS, and kept in the user's cache."""

import asyncio
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from evals.swebench.pro_scripts import COMMIT, REPOSITORY, ProScripts, ProScriptsError, paths, read_folder

if TYPE_CHECKING:
    import httpx2

ADDRESS = "https://raw.githubusercontent.com"
MOST_BYTES = 4 * 2**20
"""Of one file; the longest of those that are used has less than 100,000."""

_AT_ONCE = 8
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_COMMIT = re.compile(r"[0-9a-f]{40}")


class _BusyError(Exception):
    """The other side may well answer the next time."""


def _cache() -> Path:
    """`$XDG_CACHE_HOME/unbroken/pro-scripts`, else below `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unbroken" / "pro-scripts"


@dataclass(frozen=True)
class ProScriptsDownload:
    """Where the files are fetched from, and kept: in a folder for each commit, which has the repository's layout."""

    commit: str = COMMIT
    address: str = ADDRESS
    cache: Path = field(default_factory=_cache)
    tries: int = 4
    wait: float = 1.0
    """Seconds before the second try of a file, and twice as many before each one after it."""

    async def load(self, instance_ids: Iterable[str]) -> ProScripts:
        """The files of these tasks; nothing is asked for that is there already. Raises ProScriptsError."""
        if not _COMMIT.fullmatch(self.commit):
            message = f"{self.commit!r} is no whole commit of {REPOSITORY}: 40 hexadecimal digits are"
            raise ProScriptsError(message)
        wanted = list(instance_ids)
        folder = self.cache / self.commit
        missing = [path for one in wanted for path in paths(one) if not (folder / path).is_file()]
        if missing:
            await self._fetch_all(missing, folder)
        return read_folder(folder, wanted, f"{REPOSITORY}@{self.commit}")

    async def _fetch_all(self, missing: list[str], folder: Path) -> None:
        import httpx2

        limit = asyncio.Semaphore(_AT_ONCE)

        async def fetch(path: str) -> None:
            async with limit:
                self._keep(folder / path, await self._fetch(client, path))

        timeout = httpx2.Timeout(30.0, connect=10.0)
        async with httpx2.AsyncClient(timeout=timeout, follow_redirects=True) as client:
            try:
                async with asyncio.TaskGroup() as group:
                    for path in missing:
                        group.create_task(fetch(path))
            except ExceptionGroup as failures:
                raise failures.exceptions[0] from None

    async def _fetch(self, client: "httpx2.AsyncClient", path: str) -> bytes:
        import httpx2
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.tries),
            wait=wait_random_exponential(self.wait, min=self.wait / 2),
            retry=retry_if_exception_type((httpx2.TransportError, _BusyError)),
            reraise=True,
        )
        try:
            return await retrying(self._ask, client, path)
        except (httpx2.RequestError, httpx2.InvalidURL, _BusyError) as error:
            raise ProScriptsError(self._not_to_be_had(str(error) or type(error).__name__)) from error

    async def _ask(self, client: "httpx2.AsyncClient", path: str) -> bytes:
        body = bytearray()
        async with client.stream("GET", f"{self.address}/{REPOSITORY}/{self.commit}/{path}") as answer:
            status = answer.status_code
            if status in _BUSY:
                message = f"it answers with status {status}"
                raise _BusyError(message)
            if status == 404:
                message = (
                    f"{REPOSITORY} has no {path} at commit {self.commit}\n"
                    "Leave the task out, or give a folder that has it: --pro-scripts DIR"
                )
                raise ProScriptsError(message)
            if status != 200:
                raise ProScriptsError(self._not_to_be_had(f"it answers with status {status}"))
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > MOST_BYTES:
                    raise ProScriptsError(self._not_to_be_had(f"{path} has more than {MOST_BYTES} bytes"))
        return bytes(body)

    def _keep(self, file: Path, body: bytes) -> None:
        from results.whole_files import write_whole

        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, body)
        except OSError as error:
            message = f"{file} cannot be written: {error}\nSet XDG_CACHE_HOME, or give a folder: --pro-scripts DIR"
            raise ProScriptsError(message) from error

    def _not_to_be_had(self, reason: str) -> str:
        return (
            f"the files of SWE-bench Pro's evaluation cannot be had from {self.address}: {reason}\n"
            f"Without a network, check out commit {self.commit} of {REPOSITORY} where there is one, "
            "and give its folder: --pro-scripts DIR"
        )
