"""Arguments of an erasure are checked before any change."""

from datetime import UTC, date, datetime, timedelta

import pytest

from mlops_runtime.features.entity_search import ErasureError
from mlops_runtime.features.erasure_arguments import named_in

GOOD = {"entity": {"store_id": "1"}, "reason": "T-1", "in_use": ()}


@pytest.fixture
def state(filled):
    """Return the bytes of all files of a store."""
    return lambda: {path: path.read_bytes() for path in sorted(filled.path.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("wrong", "reported"),
    [
        ({"wait": 5}, r"wait must be a non-negative timedelta, such as timedelta\(minutes=1\), got 5"),
        ({"wait": timedelta(seconds=-1)}, "wait must be a non-negative timedelta"),
        ({"entity": None}, "entity must be values by name of key column, .*, got None"),
        ({"entity": "store_id"}, "entity must be values by name of key column, .*, got 'store_id'"),
        ({"entity": {1: "1"}}, "entity must be values by name of key column"),
        ({"reason": None}, "reason must be a reason, such as a ticket's number, got None"),
        ({"in_use": [5]}, r"in_use must be a list of ids of training sets, got \[5\]"),
        ({"include_in_use": "no"}, "include_in_use must be True or False, got 'no'"),
        ({"ended": "build"}, "ended must be a list of ids of builds, got 'build'"),
        ({"ended": None}, "ended must be a list of ids of builds, got None"),
    ],
)
def test_an_argument_of_another_type_is_refused(filled, state, wrong, reported):
    """The error names the value and the allowed type; nothing is written."""
    before = state()
    with pytest.raises(ErasureError, match=reported):
        filled.client.erase(**(GOOD | wrong))
    assert state() == before


def test_every_problem_is_named(filled):
    """Also for calls that resume erasures."""
    with pytest.raises(ErasureError, match=r"entity must .*; reason must .*; in_use must .*; wait must .*; ended must"):
        filled.client.erase(None, reason="", in_use="a", wait=5, ended=5)
    with pytest.raises(ErasureError, match=r"^wait must .*; ended must"):
        filled.client.resume_erasures(wait=5, ended="a")


def test_a_reason_that_names_the_entity_is_refused(filled, state):
    """The reason stays in the records after the rows are gone."""
    before = state()
    with pytest.raises(ErasureError, match="reason contains the store_id to erase, and stays in the records;"):
        filled.client.erase({"store_id": "SECRETPAT3"}, reason="about SECRETPAT3", in_use=())
    assert state() == before


@pytest.mark.parametrize(
    ("value", "reason", "is_reported"),
    [
        ("SECRETPAT3", "about:secretpat3s", True),
        ("Ann", "asked by ann.", True),
        ("Ann", "as planned", False),
        ("718", "household 718 left", True),
        ("718123", "ticket 97181234", False),
        (718, "household 718 left", True),
        (7, "T-7, ticket 17", False),
        (date(2017, 1, 2), "born 2017-01-02", True),
        (datetime(2017, 1, 2, tzinfo=UTC), "of 2017-01-02T00:00:00+00:00", True),
        ("", "T-1", False),
        ("(a", "the (a", True),
    ],
)
def test_a_value_is_found_as_a_word_and_a_longer_text_anywhere(value, reason, is_reported):
    """A number is matched as a word, so a ticket number that contains it is allowed; longer text is matched anywhere."""
    assert named_in(reason, {"key": value}) == (["key"] if is_reported else [])
