"""The decorator."""

import functools
import time

from encore.waiting import constant


def retry(attempts=3, *, on=Exception, wait=constant(1), sleep=time.sleep):
    """Call the function up to `attempts` times, until it does not raise `on`.

    `wait` gets the number of the attempt that failed and returns the seconds to wait after it.
    """

    def decorate(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            for attempt in range(1, attempts + 1):
                try:
                    return function(*args, **kwargs)
                except on as error:
                    failure = error
                    sleep(wait(attempt))
            raise failure

        return call

    return decorate
