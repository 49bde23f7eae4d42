"""Errors with which a command ends although it had begun well."""

from collections.abc import Collection


class TaskFailedError(Exception):
    """A task did not come to its end. `code` is the exit code; its cause, where there is one, has the traceback.

    `secrets` are kept out of whatever is printed of it.
    """

    def __init__(self, message: str, code: int, secrets: Collection[str] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.secrets = secrets
