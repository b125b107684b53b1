"""Errors that the command shows."""

import pytest

from mlops_cli.aws_account import UserError, shown


def test_a_named_error_is_shown_with_its_words() -> None:
    """The library's words reach the user."""
    with pytest.raises(UserError, match="port 4566 is in use"), shown(OSError):
        raise OSError("port 4566 is in use")


def test_any_other_error_stays_what_it_is() -> None:
    """A defect of ours keeps its traceback."""
    with pytest.raises(KeyError), shown(OSError):
        raise KeyError("x")
