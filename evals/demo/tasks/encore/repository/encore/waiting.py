"""How long to wait after an attempt that failed."""


def constant(seconds):
    """Wait as long after every attempt."""
    return lambda attempt: seconds


def exponential(seconds, factor=2, longest=60):
    """Wait `seconds` after the first attempt, `factor` times as long after each further one, never over `longest`."""
    return lambda attempt: min(longest, seconds * factor ** (attempt - 1))
