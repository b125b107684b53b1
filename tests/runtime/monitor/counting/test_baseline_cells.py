"""Cells and values: CSV and JSON agree, and invalid values are counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from mlops_runtime.contracts.monitor import FeatureBaseline
from mlops_runtime.monitor.counting.baseline_cells import (
    Coded,
    LevelCells,
    level_crc,
    null_patterns,
    number_cells,
    number_identifier,
    spread_scores,
    text_identifier,
    to_coded,
    to_numbers,
)

ANY = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
)


def store(**fields: object) -> FeatureBaseline:
    """Return the baseline of a category."""
    return FeatureBaseline(**{"name": "store", "type": "category", "levels": ("a", "b"), **fields})  # type: ignore[arg-type]


@given(st.lists(st.floats(width=32) | st.none(), max_size=20))
def test_text_and_json_give_the_same_numbers(values: list[float | None]) -> None:
    """A value counts the same as a JSON number, as a CSV field and in an array."""
    texts = ["" if value is None else repr(value) for value in values]
    numbers = to_numbers(values)
    finite_or_null = [np.inf if np.isinf(n) else n for n in np.array(values, dtype=np.float64).tolist()]
    np.testing.assert_array_equal(np.abs(to_numbers(texts)), np.abs(numbers))
    np.testing.assert_array_equal(np.abs(numbers), np.abs(np.array(finite_or_null, dtype=np.float32)))
    np.testing.assert_array_equal(to_numbers(np.array(values, dtype=np.float64)), numbers)
    np.testing.assert_array_equal(to_numbers(np.array(values, dtype=object)), numbers)


def test_a_32_bit_number_and_its_text_share_a_cell() -> None:
    """0.1 as a 32-bit float of training and 0.1 in a request fall into the same cell."""
    edges = np.array([np.float32(0.1)], dtype=np.float32)
    assert number_cells(to_numbers(["0.1", "0.0999"]), edges).tolist() == [1, 0]


def test_what_is_not_a_number_is_apart_from_what_is_infinite() -> None:
    """Text, booleans, objects, digit separators and values beyond 32-bit floats are not numbers; infinities are separate."""
    values = [1, "2", None, True, "x", {}, 10**400, 1e39, "inf", " ", "1_0", np.float32(4)]
    numbers = to_numbers(values)
    inf = np.inf
    np.testing.assert_array_equal(numbers, [1, 2, np.nan, -inf, -inf, -inf, inf, inf, inf, np.nan, -inf, 4])
    np.testing.assert_array_equal(to_numbers(["1", "1_0"]), [1, -inf])
    np.testing.assert_array_equal(to_numbers(np.array([1, -inf], dtype=np.float32)), [1, inf])
    np.testing.assert_array_equal(to_numbers(["-inf", "-1e39", "x"]), [inf, inf, -inf])
    np.testing.assert_array_equal(to_numbers(np.array([True, False])), [1, 0])
    np.testing.assert_array_equal(to_numbers(Coded(np.array([0, -1]), ("7",))), [7, np.nan])


def test_levels_have_their_cells() -> None:
    """Levels, tail buckets by CRC-32, new levels, nulls and values that are not text each have their cell."""
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
        ({"counts": (1, 1, 0, 1), "tail": 0, "known": ()}, [0, 2, 3]),  # only new ones
        (
            {"counts": (0,) * 36, "tail": 32, "known": None},
            [0, 2 + level_crc("new") % 32, 35],
        ),  # new and rare levels share the tail cells
    ],
)
def test_a_level_that_is_not_kept(fields: dict[str, object], expected: list[int]) -> None:
    """Without a counted tail, or with too many tail levels to store, new and rare levels share cells."""
    assert LevelCells(store(**fields)).of(["a", "new", None]).tolist() == expected


def test_what_is_remembered_is_bounded() -> None:
    """The cache of levels is bounded for a column of identifiers, and levels keep their cells."""
    cells = LevelCells(store(counts=(0,) * 36, tail=32, known=None))
    found = cells.of([f"order {number}" for number in range(50_000)])
    assert len(cells) <= 1 << 15
    assert set(found.tolist()) == set(range(2, 34))
    assert cells.of(["a", "b"]).tolist() == [0, 1]


@given(st.lists(ANY, max_size=20))
def test_codes_say_what_values_are(values: list[object]) -> None:
    """Text is coded by its level, a 64-bit integer by the level of its digits, null as -1 and anything else as -2."""
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
    """The JSON number 7 is the level "7", whatever equal dictionary keys were seen before."""
    feature = FeatureBaseline(name="store", type="category", levels=("7", "1"), counts=(1, 1, 1, 1))
    expected = [{"7": 0, "1": 1}.get(str(value), 4) if type(value) in (int, str) else 4 for value in values]
    assert LevelCells(feature).of(values).tolist() == expected
    hashable = [value for value in values if not isinstance(value, list)]
    assert LevelCells(feature).of(hashable).tolist() == [
        cell for cell, v in zip(expected, values, strict=True) if v in hashable
    ]


@given(st.lists(st.integers(-1, 5), max_size=9), st.permutations(["a", "b", "", "a", "new", "long"]))
def test_codes_are_as_good_as_their_levels(codes: list[int], levels: list[str]) -> None:
    """Codes and levels count alike with duplicate levels, an empty string and more levels than rows."""
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
    """Integers of an array become their decimal text, as in the table of a training set."""
    assert to_coded(np.array([7, 7, 8]))[0].levels == ["7", "8"]


RANDOM = np.random.default_rng(4)


def of_number(values: np.ndarray) -> str | None:
    """Return the reason why a numeric column is an identifier."""
    return number_identifier(values, np.sort(values.astype(np.float32)))


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.permutation(3000),
        RANDOM.permutation(3000).astype(np.float32),
        (5_000_000_000 + RANDOM.permutation(100_000)[:30_000]).astype(np.int64),  # too large for 32-bit floats
    ],
)
def test_numbers_that_name_rows(values: np.ndarray) -> None:
    """A number identifies rows if it is whole, unique and denser than chance allows."""
    assert of_number(values) == f"{len(values)} different whole numbers"


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.lognormal(5, 1, 3000).astype(np.float32),  # fractions
        RANDOM.choice(10**9, 3000, replace=False),  # a range so wide that unique values are likely
        np.append(RANDOM.permutation(3000), 5),  # one duplicate
        np.arange(100),  # too few rows to decide
        (RANDOM.random(3000) * 1e9).astype(np.float32),  # whole only because 32 bits cannot store the fractions
        np.zeros(3000),
        np.array([]),
    ],
)
def test_numbers_that_do_not(values: np.ndarray) -> None:
    """Amounts, duplicates and short columns are not identifiers."""
    assert of_number(values) is None


def test_texts_that_name_rows() -> None:
    """Text identifies rows if nearly all values are distinct."""
    orders = [f"order {number}" for number in range(980)] + ["order 1"] * 20 + [None] * 500
    assert text_identifier(to_coded(orders)[0]) == "980 of 1000 values are distinct"


@pytest.mark.parametrize(
    "values",
    [
        [f"store {number % 900}" for number in range(1000)],
        [f"store {number}" for number in range(100)],
        [None] * 1000,
        [],
    ],
)
def test_texts_that_do_not(values: list[str | None]) -> None:
    """Text with many repeated levels, or with too few rows, is not an identifier."""
    assert text_identifier(to_coded(values)[0]) is None


@given(st.integers(1, 150), st.integers(0, 30), st.integers(0, 1000), st.floats(0, 1))
def test_a_pattern_is_the_names_of_the_null_columns(columns: int, rows: int, seed: int, share: float) -> None:
    """A pattern is named by its null columns, however many columns there are; a column without nulls may have a mask."""
    nulls = np.random.default_rng(seed).random((rows, columns)) < share * share
    masks = [(f"c{index}", nulls[:, index] if nulls[:, index].any() else None) for index in range(columns)]
    codes, names = null_patterns(masks, rows)
    expected = ["+".join(f"c{index}" for index in np.flatnonzero(row)) or "none" for row in nulls]
    assert [names[code] for code in codes] == expected
    assert len(set(names)) == len(names) == len(set(expected))


def test_masks_without_a_null_are_no_pattern() -> None:
    """A mask without a null adds no pattern."""
    codes, names = null_patterns([("a", np.zeros(3, dtype=np.bool_))], 3)
    assert (codes.tolist(), names) == ([0, 0, 0], ["none"])


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=12))
def test_scores_are_means_over_parts_of_a_normal_distribution(counts: list[int]) -> None:
    """Scores are means over parts of a normal distribution, checked by quadrature; they average to 0 over the baseline."""
    bins = np.array(counts, dtype=np.float64)
    scores, shares = spread_scores(bins), bins / bins.sum()
    ends = stats.norm.ppf(np.clip(np.concatenate([[0], np.cumsum(shares)]), 0, 1))
    for score, share, low, high in zip(scores, shares, ends[:-1], ends[1:], strict=True):
        square = integrate.quad(lambda z: z * z * stats.norm.pdf(z), low, high)[0]
        assert score == pytest.approx(square / share - 1, abs=1e-6)
    assert (shares * scores).sum() == pytest.approx(0, abs=1e-9)


def test_empty_bins_have_the_scores_of_their_neighbours() -> None:
    """Empty bins take the scores of their neighbours, values out of range those of the outermost bin; no values, no scores."""
    scores = spread_scores(np.array([0.0, 1, 0, 3, 3, 1, 0]))
    assert scores[0] == scores[1]
    assert scores[-1] == scores[-2]
    assert scores[2] == pytest.approx((scores[1] + scores[3]) / 2)
    assert spread_scores(np.zeros(3)).tolist() == [0, 0, 0]
