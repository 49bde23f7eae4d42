"""What a process holds while it carries out a run: its lock, and, of one that is shared, the storage's as well."""

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager

from results.run_directory import RunDirectory
from results.run_lock import RunBusyError, run_lock
from results.shared_lock import shared_lock
from results.shared_storage import SharedStorage, SharedStorageError, storage_of


@contextmanager
def run_at_work(run: RunDirectory) -> Generator[None]:
    """Hold a run, and send what is in its folder before and after, where it is shared.

    Raises RunBusyError where another process holds it, or has taken it over meanwhile, and SharedStorageError.
    """
    with run_lock(run.path):
        if (storage := storage_of(run)) is None:
            yield
            return
        lost = list[bool]()

        def stop() -> None:
            lost.append(True)
            os.kill(os.getpid(), signal.SIGINT)  # as a person would: no new trials, live ones end with their work kept

        with shared_lock(storage, run.manifest.run_id, stop):
            storage.send(run.path)
            yield
            if lost:
                message = f"another process has taken over run {run.path.name}, since this one was not heard of"
                raise RunBusyError(message)
            _send_all(storage, run)


def _send_all(storage: SharedStorage, run: RunDirectory) -> None:
    try:
        storage.send(run.path)
    except SharedStorageError as error:
        message = (
            f"{error}. All of run {run.path.name} is in {run.path}; `evals resume {run.path}` sends what is missing"
        )
        raise SharedStorageError(message) from error
