"""Similar and distinct names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.serving.field_names import is_readable, resembles


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("phone_number", "phone"),
        ("homePhone", "phone"),
        ("PHONE2", "phone"),
        ("CUSTOMER_AGE", "age"),
        ("URLAge", "age"),
        ("AGES", "age"),
        ("birth_dates", "birthdate"),
        ("birthdate", "birth_date"),
        ("customer_birth_date", "birth_date"),
        ("narne", "name"),
        ("customer_name", "name"),
        ("addresses", "address"),
    ],
)
def test_names_read_alike(name: str, other: str) -> None:
    """By words, number, case or letters."""
    assert resembles(name, other)


@pytest.mark.parametrize(
    ("name", "other"),
    [("rename", "name"), ("stage", "age"), ("price", "phone"), ("store", "store_name"), ("", "name"), ("_", "name")],
)
def test_names_do_not(name: str, other: str) -> None:
    """A short name within a word, a part of a name, empty."""
    assert not resembles(name, other)


@given(st.text("abcXYZ_-.", min_size=1, max_size=12).filter(lambda name: any(c.isalnum() for c in name)))
def test_a_name_reads_like_itself_in_any_case_and_with_any_words_around(name: str) -> None:
    """For every name with a letter."""
    assert resembles(name, name)
    assert resembles(f"first_{name}_last", name)
    assert is_readable(name)
