"""Error types of functions, read from the traceback of their worker."""

import traceback

import pytest

from mlops_local.functions.functions import error_type


class LockBusyError(Exception):
    """An exception of a module."""


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ValueError("bad"), "ValueError"),
        (LockBusyError("held\nby x"), "LockBusyError"),
        (KeyError("key"), "KeyError"),
        (ValueError(), "ValueError"),
        (ValueError("ends with: colon: "), "ValueError"),
    ],
)
def test_error_has_the_name_of_its_class(error: Exception, name: str) -> None:
    """For messages with several lines, no text, or colons."""
    try:
        raise error
    except type(error):
        log = "START\n" + traceback.format_exc()
    assert error_type(log, str(error)) == name


@pytest.mark.parametrize("log", ["", "Task timed out after 3.00 seconds", "Worker process died"])
def test_keeps_what_is_no_exception(log: str) -> None:
    """A timeout and a dead worker have no exception class."""
    assert error_type(log, log) is None
