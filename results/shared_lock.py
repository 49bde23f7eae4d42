"""One machine at a time carries out a run that several can reach: a lock in its storage, kept fresh by who holds it."""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from results.run_lock import RunBusyError
from results.shared_storage import SharedStorage, told

_LOCK = "held.json"
REFRESHED_EVERY = 15.0
"""Seconds."""
STALE_AFTER = 120.0
"""Seconds without a word after which a holder counts as dead. Clocks of machines may differ by a part of that."""


@dataclass(frozen=True)
class _Held:
    mark: str
    copy: str
    who: str
    time: float

    @classmethod
    def read(cls, data: bytes) -> "_Held":
        found = json.loads(data)
        return cls(str(found["mark"]), str(found["copy"]), str(found["who"]), float(found["time"]))

    def written(self) -> bytes:
        return json.dumps(asdict(self)).encode()


@contextmanager
def shared_lock(storage: SharedStorage, run_id: str, on_lost: Callable[[], None]) -> Generator[None]:
    """Hold a run for this process on whatever machine. The copy's own lock is held already (`results.run_lock`).

    A holder that died leaves its lock, which is taken over once nothing has been heard of it for STALE_AFTER seconds;
    at once where it worked in this same copy, whose lock says that it is gone. `on_lost` is called, in a thread, where
    others have taken it over from us: a machine that slept, say. Raises RunBusyError, SharedStorageError.
    """
    lock = _Lock(storage, run_id)
    with told(storage.url):
        lock.take()
    ended = threading.Event()
    keeper = threading.Thread(target=lock.keep, args=(ended, on_lost), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()
        with suppress(Exception):  # it gets stale
            lock.give_up()


class _Lock:
    def __init__(self, storage: SharedStorage, run_id: str) -> None:
        self._files, root = storage.open()
        self._folder, self._path = f"{root}/{run_id}", f"{root}/{run_id}/{_LOCK}"
        self._run_id, self._mark, self._copy = run_id, secrets.token_hex(8), storage.copy_id

    def take(self) -> None:
        """Take it where nobody has it, or who has it is dead. Raises RunBusyError."""
        self._files.makedirs(self._folder, exist_ok=True)
        with suppress(FileExistsError):
            self._files.pipe_file(self._path, self._fresh(), mode="create")
            return
        held = self._held()
        silent = time.time() - held.time
        if silent < STALE_AFTER and held.copy != self._copy:
            message = (
                f"{held.who} is at work on run {self._run_id}, and was heard of {max(silent, 0):.0f} seconds ago: wait "
                f"until it ends; if it has died, the run is free {STALE_AFTER:.0f} seconds after that"
            )
            raise RunBusyError(message)
        self._files.pipe_file(self._path, self._fresh())
        time.sleep(1)  # of two that found it stale at the same moment, the later one has it
        if not self._is_ours():
            message = f"another process has just taken over run {self._run_id}"
            raise RunBusyError(message)

    def keep(self, ended: threading.Event, on_lost: Callable[[], None]) -> None:
        """Say from time to time that we live, until the event is set."""
        while not ended.wait(REFRESHED_EVERY):
            with suppress(Exception):  # the next time may do; who sends results is told of trouble
                if not self._is_ours():
                    on_lost()
                    return
                self._files.pipe_file(self._path, self._fresh())

    def give_up(self) -> None:
        """Let others have it."""
        if self._is_ours():
            self._files.rm_file(self._path)

    def _held(self) -> _Held:
        return _Held.read(self._files.cat_file(self._path))

    def _is_ours(self) -> bool:
        return self._held().mark == self._mark

    def _fresh(self) -> bytes:
        who = f"process {os.getpid()} on {socket.gethostname()}"
        return _Held(self._mark, self._copy, who, time.time()).written()
