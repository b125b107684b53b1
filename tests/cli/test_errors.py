"""Errors shown by the command."""

import pytest

from mlops_cli.aws_account import UserError, shown


def test_a_named_error_is_shown_with_its_words() -> None:
    """Users see the library's message."""
    with pytest.raises(UserError, match="port 4566 is in use"), shown(OSError):
        raise OSError("port 4566 is in use")


def test_any_other_error_stays_what_it_is() -> None:
    """A bug keeps its traceback."""
    with pytest.raises(KeyError), shown(OSError):
        raise KeyError("x")
