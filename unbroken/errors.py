"""Errors with which a command ends although it had begun well."""


class TaskFailedError(Exception):
    """A task did not come to its end. `code` is the exit code; its cause, where there is one, has the traceback."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
