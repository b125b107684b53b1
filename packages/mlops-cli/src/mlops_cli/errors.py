"""The one error that the command shows without a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something that the user can fix; the message says what, with which value, and the fix."""


@contextmanager
def shown(*kinds: type[Exception]) -> Iterator[None]:
    """Turn the named errors of a library call into a :class:`UserError` with the same words."""
    try:
        yield
    except kinds as error:
        raise UserError(str(error)) from error
