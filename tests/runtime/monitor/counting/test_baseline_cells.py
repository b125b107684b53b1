"""Cells and values: text and JSON agree, invalid values are counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.monitor import FeatureBaseline
from mlops_runtime.monitor.counting.cells import Coded, LevelCells, level_crc, number_cells, to_coded, to_numbers

ANY = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
)


def store(**fields: object) -> FeatureBaseline:
    """Return a category's baseline."""
    return FeatureBaseline(**{"name": "store", "type": "category", "levels": ("a", "b"), **fields})  # type: ignore[arg-type]


@given(st.lists(st.floats(width=32) | st.none(), max_size=20))
def test_text_and_json_give_the_same_numbers(values: list[float | None]) -> None:
    """A value is the same as a JSON number, as a CSV field and in an array."""
    texts = ["" if value is None else repr(value) for value in values]
    numbers = to_numbers(values)
    finite_or_null = [np.inf if np.isinf(n) else n for n in np.array(values, dtype=np.float64).tolist()]
    np.testing.assert_array_equal(np.abs(to_numbers(texts)), np.abs(numbers))
    np.testing.assert_array_equal(np.abs(numbers), np.abs(np.array(finite_or_null, dtype=np.float32)))
    np.testing.assert_array_equal(to_numbers(np.array(values, dtype=np.float64)), numbers)
    np.testing.assert_array_equal(to_numbers(np.array(values, dtype=object)), numbers)


def test_a_32_bit_number_and_its_text_share_a_cell() -> None:
    """0.1 as trained (32 bits) and 0.1 as sent are the same value."""
    edges = np.array([np.float32(0.1)], dtype=np.float32)
    assert number_cells(to_numbers(["0.1", "0.0999"]), edges).tolist() == [1, 0]


def test_what_is_no_number_is_invalid() -> None:
    """Text, booleans, objects, Python's digit separators and what no 32-bit float holds."""
    values = [1, "2", None, True, "x", {}, 10**400, 1e39, "inf", " ", "1_0", np.float32(4)]
    numbers = to_numbers(values)
    inf = np.inf
    np.testing.assert_array_equal(numbers, [1, 2, np.nan, inf, inf, inf, inf, inf, inf, np.nan, inf, 4])
    np.testing.assert_array_equal(to_numbers(["1", "1_0"]), [1, inf])
    np.testing.assert_array_equal(to_numbers(np.array([True, False])), [1, 0])
    np.testing.assert_array_equal(to_numbers(Coded(np.array([0, -1]), ("7",))), [7, np.nan])


def test_levels_have_their_cells() -> None:
    """Levels, buckets of the tail by CRC-32, new, null, and what is no text."""
    known = tuple(sorted(level_crc(level) for level in ("c", "d")))
    cells = LevelCells(store(counts=(0,) * 36, tail=32, known=known))
    assert cells.size == 36
    values = ["a", "b", "c", "d", "new", "", None, float("nan"), 3.5, [1]]
    tail = [2 + level_crc(level) % 32 for level in "cd"]
    assert cells.of(values).tolist() == [0, 1, *tail, 34, 35, 35, 35, 36, 36]
    assert cells.of(Coded(np.array([1, 0, -1]), ("new", "a"))).tolist() == [0, 34, 35]
    assert cells.of(np.array(["a", "new"])).tolist() == [0, 34]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"counts": (1, 1, 1, 1)}, [0, 2, 3]),  # one cell for all others
        ({"counts": (1, 1, 0, 1), "tail": 0, "known": ()}, [0, 2, 3]),  # none but new ones
        (
            {"counts": (0,) * 36, "tail": 32, "known": None},
            [0, 2 + level_crc("new") % 32, 35],
        ),  # new is not told from rare
    ],
)
def test_a_level_that_is_not_kept(fields: dict[str, object], expected: list[int]) -> None:
    """Where the tail was not counted, or its levels were too many to be known."""
    assert LevelCells(store(**fields)).of(["a", "new", None]).tolist() == expected


def test_what_is_remembered_is_bounded() -> None:
    """A column of identifiers does not fill the memory, and levels keep their cells."""
    cells = LevelCells(store(counts=(0,) * 36, tail=32, known=None))
    found = cells.of([f"order {number}" for number in range(50_000)])
    assert len(cells) <= 1 << 15
    assert set(found.tolist()) == set(range(2, 34))
    assert cells.of(["a", "b"]).tolist() == [0, 1]


@given(st.lists(ANY, max_size=20))
def test_codes_say_what_values_are(values: list[object]) -> None:
    """Text is its level, a whole number of 64 bits that of its digits, what is null -1, all else -2."""
    coded, invalid = to_coded(values)
    back = [coded.levels[code] if code >= 0 else code for code in coded.codes.tolist()]
    assert len(set(coded.levels)) == len(coded.levels)
    assert invalid == back.count(-2)
    for value, code in zip(values, back, strict=True):
        is_null = value is None or value == "" or value != value  # noqa: PLR0124 - NaN
        is_whole = type(value) is int and -(2**63) <= value < 2**64
        assert code == (-1 if is_null else value if isinstance(value, str) else str(value) if is_whole else -2)


@given(st.permutations([7, "7", 7.0, True, 1, "1", 1.0, [7]]))
def test_a_whole_number_is_the_level_of_its_digits(values: list[object]) -> None:
    """JSON has 7 where the training set has "7"; what was seen before does not say what equal keys of a dictionary are."""
    feature = FeatureBaseline(name="store", type="category", levels=("7", "1"), counts=(1, 1, 1, 1))
    expected = [{"7": 0, "1": 1}.get(str(value), 4) if type(value) in (int, str) else 4 for value in values]
    assert LevelCells(feature).of(values).tolist() == expected
    hashable = [value for value in values if not isinstance(value, list)]
    assert LevelCells(feature).of(hashable).tolist() == [
        cell for cell, v in zip(expected, values, strict=True) if v in hashable
    ]


@given(st.lists(st.integers(-1, 5), max_size=9), st.permutations(["a", "b", "", "a", "new", "long"]))
def test_codes_are_as_good_as_their_levels(codes: list[int], levels: list[str]) -> None:
    """Also where a level is there twice, is the empty text, or there are more levels than rows."""
    column = Coded(np.array(codes, dtype=np.int64), levels)
    texts = [levels[code] if code >= 0 else None for code in codes]
    cells = LevelCells(store(counts=(0,) * 36, tail=32, known=(level_crc("long"),)))
    assert cells.of(column).tolist() == cells.of(texts).tolist()
    coded, invalid = to_coded(column)
    assert invalid == 0
    assert [coded.levels[code] if code >= 0 else None for code in coded.codes.tolist()] == [
        text or None for text in texts
    ]
    assert len(set(coded.levels)) == len(coded.levels)


def test_whole_numbers_of_an_array_are_their_text() -> None:
    """As the columns of a training set's table."""
    assert to_coded(np.array([7, 7, 8]))[0].levels == ["7", "8"]
