"""Rows with ids and labels: each id once, and all problems in one message."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.labels.label_kind import LabelKind
from mlops_runtime.labels.label_rows import LabelError, check_labels, id_text, time_of

NUMBER = LabelKind(kind="number")
NOW = datetime(2017, 8, 7, 12, tzinfo=UTC)


def test_rows_without_a_label_are_not_known_yet() -> None:
    """Nulls of each format are counted, and their ids may be null too; a repeated row counts once."""
    nan = float("nan")
    found = check_labels(["a", "b", "c", None, "d", "d"], [[1, None, nan, " ", 2, 2.0]], NUMBER)
    assert found.texts == {"a": "1", "d": "2"}
    assert (found.rows, found.nulls, found.repeated) == (6, 3, 1)


def test_of_several_labels_the_newest_counts() -> None:
    """The rows have the time at which each label became known, in any order."""
    times = ["2017-08-07T10:00", date(2017, 8, 6), datetime(2017, 8, 7, 9, tzinfo=UTC)]
    assert check_labels(["a", "a", "a"], [[3, 1, 2]], NUMBER, times=times, now=NOW).texts == {"a": "3"}


def test_every_problem_is_in_one_message() -> None:
    """Each problem has its number of rows and the first of them."""
    ids: list[Any] = [None, "x" * 65, "é", 1.5, "a", "a", "b", "mlops-synthetic-1", *[f"n{n}" for n in range(5)]]
    values: list[Any] = [1, 1, 1, 1, 1, 2, "many", 1, *["no"] * 5]
    with pytest.raises(LabelError) as caught:
        check_labels(ids, [values], NUMBER)
    assert caught.value.problems == (
        "an id is null in 1 row (1)",
        "an id must be 1 to 64 printable ASCII characters, or an integer (as a float below 2^53): invalid in 4 rows "
        f"(2: {'x' * 40!r}, 3: 'é', 4: '1.5', ...)",
        "an id with another label than before in 1 row (6: 'a')",
        "a label must be a finite number that fits a 32-bit float: invalid in 6 rows (7: 'many', 9: 'no', 10: 'no', ...)",
    )


def test_fails_on_times_that_are_none_or_to_come() -> None:
    """A label cannot become known in the future."""
    with pytest.raises(LabelError) as caught:
        check_labels(["a", "b", "c"], [[1, 2, 3]], NUMBER, times=["soon", "2017-08-08", "2017-08-07"], now=NOW)
    assert caught.value.problems == (
        "a time must be a timestamp or ISO 8601: invalid in 1 row (1: 'soon')",
        "a label became known later than now (2017-08-07T12:00:00+00:00) in 1 row (2: '2017-08-08')",
    )


def test_fails_on_two_labels_at_the_same_time() -> None:
    """Neither label is newer."""
    with pytest.raises(LabelError, match="an id with another label than before at the same time in 1 row"):
        check_labels(["a", "a"], [[1, 2]], NUMBER, times=["2017-08-07", "2017-08-07"], now=NOW)


def test_fails_on_another_number_of_columns_than_of_outputs() -> None:
    """The message contains the outputs."""
    with pytest.raises(LabelError, match="the model has 2 outputs, so it needs 2 columns of labels: x, y; got 1"):
        check_labels(["a"], [[1]], LabelKind(kind="outputs", outputs=("x", "y")))


@given(
    st.lists(st.tuples(st.one_of(st.none(), st.integers(), st.text()), st.one_of(st.none(), st.floats(), st.text())))
)
def test_any_rows_are_checked_or_refused(rows: list[tuple[Any, Any]]) -> None:
    """Any input results in labels by id or in one message."""
    ids, values = [row[0] for row in rows], [row[1] for row in rows]
    try:
        found = check_labels(ids, [values], NUMBER)
    except LabelError as error:
        assert error.problems != ()
        return
    assert len(found.texts) + found.nulls + found.repeated == found.rows == len(rows)


@given(st.integers())
def test_integers_are_ids_in_any_form(number: int) -> None:
    """A data frame with nulls converts them to floats."""
    text = id_text(number)
    assert text is None or text == str(number)
    if abs(number) < 2**53:
        assert id_text(float(number)) == text


def test_times_without_a_zone_are_utc() -> None:
    """A date is its midnight."""
    assert time_of("2017-08-07T06:30+02:00") == datetime(2017, 8, 7, 4, 30, tzinfo=UTC)
    assert time_of(date(2017, 8, 7)) == datetime(2017, 8, 7, tzinfo=UTC)
    assert time_of(datetime(2017, 8, 7, 1)) == datetime(2017, 8, 7, 1, tzinfo=UTC)
    assert time_of(None) is None
