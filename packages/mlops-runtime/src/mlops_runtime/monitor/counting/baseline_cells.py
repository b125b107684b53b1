"""Assign values to the cells of a baseline, by the same rules for training data and live data.

Numbers are compared as 32-bit floats, as in the model: a training set contains 0.1 as a float, a request contains it as text, and
both must fall into the same cell.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor import FeatureBaseline

Numbers = npt.NDArray[np.float32]
Cells = npt.NDArray[np.int64]

NULL = -1
INVALID = -2
# code of values that are neither numbers nor null; infinities of either sign become positive infinity
NOT_A_NUMBER = np.float32(-np.inf)
# number of values whose cell is cached: identifiers have unlimited distinct values
_REMEMBERED = 1 << 14


@dataclass(frozen=True, slots=True)
class Coded:
    """A dictionary-encoded column of text, as in Arrow.

    Example:
        >>> Coded(np.array([0, -1, 0]), ("a",)).levels
        ('a',)
    """

    codes: Cells  # each row's level as its index in `levels`; -1 for null
    levels: Sequence[str]  # the distinct strings

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: slice | Cells) -> "Coded":
        """Return some rows, with the same levels."""
        return Coded(self.codes[rows], self.levels)


Column = npt.NDArray[Any] | Sequence[Any] | Coded


def one_length(columns: Mapping[str, Column]) -> tuple[int, str | None]:
    """Return the number of rows of columns, and the problem if they differ in length."""
    sizes = {name: len(values) for name, values in columns.items()}
    problem = f"columns must have one length, got {', '.join(f'{n!r} of {s}' for n, s in sizes.items())}"
    return next(iter(sizes.values()), 0), problem if len(set(sizes.values())) > 1 else None


def number_cells(values: Numbers, edges: Numbers) -> Cells:
    """Return each value's cell: left-closed, right-open bins, then null, not a number, infinite.

    Args:
        values: As `to_numbers` returns them.
        edges: Inner edges of the bins.

    Example:
        >>> number_cells(to_numbers([0, 1, 5, None, "x", float("inf")]), np.array([1], dtype=np.float32)).tolist()
        [0, 1, 1, 2, 3, 4]
    """
    cells = np.searchsorted(edges, values, side="right").astype(np.int64)
    if not np.isfinite(values).all():
        cells[np.isnan(values)] = len(edges) + 1
        cells[values == NOT_A_NUMBER] = len(edges) + 2
        cells[np.isposinf(values)] = len(edges) + 3
    return cells


def edges_of(feature: FeatureBaseline) -> Numbers:
    """Return the edges of a baseline as 32-bit floats; an edge above the largest finite one becomes infinity."""
    with np.errstate(over="ignore"):
        return np.array(feature.edges, dtype=np.float64).astype(np.float32)


class LevelCells(dict[Any, int]):
    """Cached cells of levels: levels, tail or other, new, null; then the cell of values that are not strings.

    An integer is converted to its decimal string: a caller's JSON may have 7 where the training set has "7". Fractions and
    booleans have several spellings and are not converted.

    Example:
        >>> store = FeatureBaseline(name="store", type="category", levels=("a",), tail=0, known=(), counts=(9, 0, 1))
        >>> cells = LevelCells(store)
        >>> [cells[value] for value in ("a", 3, None, True)]
        [0, 1, 2, 3]
    """

    def __init__(self, feature: FeatureBaseline) -> None:
        super().__init__((level, cell) for cell, level in enumerate(feature.levels))
        self._levels = dict(self)
        self._tail = feature.tail
        self._known = None if feature.known is None else frozenset(feature.known)
        self.size = len(feature.counts)

    def __missing__(self, value: Any) -> int:
        """Return the cell of a value that is not cached."""
        if isinstance(value, int | float):  # 1, 1.0 and True are the same dictionary key
            return self._find(value)
        if len(self) > _REMEMBERED:
            self.clear()
            self.update(self._levels)
        cell = self[value] = self._find(value)
        return cell

    def of(self, values: Column) -> Cells:
        """Return the cell of each row of a column."""
        if isinstance(values, Coded):
            return _by_level(self, values)
        return _each(self, to_list(values))

    def _find(self, value: Any) -> int:
        if value.__class__ is not str or not value:  # the fast path is for strings, nearly all values
            if is_null(value):
                return self.size - 1
            value = as_text(value)
            if value is None:
                return self.size
        if value in self._levels:
            return self._levels[value]
        if self._tail is None:
            return len(self._levels)
        code = level_crc(value)
        new = len(self._levels) + self._tail
        if self._tail == 0 or (self._known is not None and code not in self._known):
            return new
        return len(self._levels) + code % self._tail


def level_crc(level: str) -> int:
    """Return the CRC-32 of a level's UTF-8, which identifies levels of the tail.

    Example:
        >>> level_crc("store 7")
        1764645618
    """
    return zlib.crc32(level.encode("utf-8", "surrogatepass"))


def is_null(value: Any) -> bool:
    """Return whether a value of a category is null: None, the empty string, or NaN, which pandas writes for None."""
    return value is None or value == "" or (isinstance(value, float) and value != value)  # noqa: PLR0124 - NaN


def to_list(values: Column) -> Sequence[Any]:
    """Return a column of text as a list; integers of an array become decimal strings, as in a training set's table."""
    if not isinstance(values, np.ndarray):
        return values  # type: ignore[return-value] # callers handle Coded
    if values.dtype.kind in "iu":
        return list(map(str, values.tolist()))
    listed: Sequence[Any] = values.tolist()
    return listed


def to_coded(values: Column) -> tuple[Coded, int]:
    """Return a column of text as codes, levels in order of occurrence, and the number of values that are neither text nor null.

    Example:
        >>> to_coded(["b", "a", None, "b", True])
        (Coded(codes=array([ 0,  1, -1,  0, -2]), levels=['b', 'a']), 1)
    """
    if (
        isinstance(values, Coded)
        and len(set(values.levels)) == len(values.levels)
        and all(map(_is_level, values.levels))
    ):
        return values, 0
    codes = LevelCodes()
    found = codes.of(values)
    return Coded(found, codes.levels), int((found == INVALID).sum()) if codes.has_invalid else 0


class LevelCodes(dict[Any, int]):
    """Codes of the levels of a column of text, in order of occurrence: -1 for null, -2 for values that are neither.

    Example:
        >>> codes = LevelCodes()
        >>> codes.of(["b", "a", None, "b", True]).tolist(), codes.levels
        ([0, 1, -1, 0, -2], ['b', 'a'])
    """

    def __init__(self) -> None:
        super().__init__()
        self.levels: list[str] = []
        self.has_invalid = False

    def __missing__(self, value: Any) -> int:
        """Return the code of a value that is not in the dictionary."""
        if value is None or value == "":
            self[value] = NULL
            return NULL
        if is_null(value):
            return NULL
        if not isinstance(value, str):
            text = as_text(value)
            if text is not None:
                return self[text]
            self.has_invalid = True
            return INVALID
        code = self[value] = len(self.levels)
        self.levels.append(value)
        return code

    def of(self, values: Column) -> Cells:
        """Return the code of each row of a column, continuing the codes of earlier columns."""
        if isinstance(values, Coded):
            return _by_level(self, values)
        return _each(self, to_list(values))


def to_numbers(values: Column) -> Numbers:
    """Return a column as 32-bit floats: NaN for null, infinity for infinite numbers, minus infinity for values not a number.

    Infinite numbers of either sign, and numbers beyond the range of 32-bit floats, become positive infinity.

    Args:
        values: JSON values, strings of CSV fields, or an array of numbers or booleans.

    Example:
        >>> to_numbers(["1.5", "", "x", "-inf", "1e39"]).tolist()
        [1.5, nan, -inf, inf, inf]
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return _narrow(values)
    listed = _items(values)
    kinds = set(map(type, listed))
    try:
        if kinds == {str} and "_" not in "".join(listed):  # Python's own digit separator is not CSV
            # an empty field is null; a few of them must not force the slow path
            texts = [value or "nan" for value in listed] if "" in listed else listed
            return _narrow(np.fromiter(map(float, texts), np.float64, len(texts)))
        if kinds <= {float, int, type(None)}:
            return _narrow(np.array(listed, dtype=np.float64))
    except (ValueError, OverflowError):  # blanks, text, or an integer beyond a float
        pass
    read = [_number(value) for value in listed]
    numbers = _narrow(np.array([np.nan if number is None else number for number in read], dtype=np.float64))
    numbers[[number is None for number in read]] = NOT_A_NUMBER
    return numbers


def finite_numbers(values: Column) -> Numbers:
    """Return a column as 32-bit floats, with NaN for null, infinite numbers, and values that are not numbers.

    Example:
        >>> finite_numbers(["1.5", "x", "inf"]).tolist()
        [1.5, nan, nan]
    """
    numbers = to_numbers(values)
    return np.where(np.isinf(numbers), np.float32(np.nan), numbers)


_BOOLEANS = {"true": 1, "false": 0}


def boolean_number(value: Any) -> Any:
    """Return 1 or 0 for a boolean in any spelling of a request; other values unchanged.

    Example:
        >>> [boolean_number(value) for value in (True, "False", 1, "x", None)]
        [1, 0, 1, 'x', None]
    """
    if isinstance(value, str):
        return _BOOLEANS.get(value.strip().lower(), value)
    return int(value) if isinstance(value, bool) else value


def _items(values: Column) -> Sequence[Any]:
    if isinstance(values, Coded):
        return [values.levels[code] if code >= 0 else None for code in values.codes.tolist()]
    return values.tolist() if isinstance(values, np.ndarray) else values


def _narrow(numbers: npt.NDArray[Any]) -> Numbers:
    with np.errstate(over="ignore"):
        narrow = numbers.astype(np.float32, copy=False)
    below = np.isneginf(narrow)
    return np.where(below, np.float32(np.inf), narrow) if below.any() else narrow


def _number(value: Any) -> float | None:
    """Return the number, NaN for null, None for a value that is neither."""
    if value is None:
        return np.nan
    if isinstance(value, bool) or not isinstance(value, str | int | float | np.number):
        return None
    if isinstance(value, str):
        if not value.strip():
            return np.nan
        if "_" in value:
            return None
    try:
        return float(value)
    except OverflowError:
        return np.inf
    except (ValueError, TypeError):
        return None


def _is_level(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _by_level(codes: dict[Any, int], values: Coded) -> Cells:
    if len(values.levels) <= len(values):
        return np.array([*map(codes.__getitem__, values.levels), codes[None]], dtype=np.int64)[values.codes]
    used, inverse = np.unique(values.codes, return_inverse=True)  # a slice of a column with many levels
    found = [codes[values.levels[code] if code >= 0 else None] for code in used.tolist()]
    return np.array(found, dtype=np.int64)[inverse]


def _each(codes: dict[Any, int], values: Sequence[Any]) -> Cells:
    try:
        return np.fromiter(map(codes.__getitem__, values), np.int64, len(values))
    except TypeError:  # arrays and objects are not hashable
        return np.fromiter((codes[_hashable(value)] for value in values), np.int64, len(values))


def _hashable(value: Any) -> Any:
    return value if value is None or isinstance(value, str | float | int) else False


def as_text(value: Any) -> str | None:
    """Return a value's level, None if it is not a string.

    Only 64-bit integers are converted: JSON readers may round longer ones.

    Example:
        >>> as_text("7"), as_text(7), as_text(7.0)
        ('7', '7', None)
    """
    if isinstance(value, str):
        return value
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_whole and -(2**63) <= value < 2**64 else None


DECLARED = "declared as an identifier"
# with fewer rows, a category with many levels looks like an identifier
_MINIMUM_ROWS = 200
# share of distinct values from which on a column of text is an identifier
_DISTINCT = 0.95
# minimum number of repeats expected if integers were drawn uniformly from their range
_EXPECTED_REPEATS = 10


def text_identifier(values: Coded) -> str | None:
    """Return why a column of text is an identifier; None if it is not.

    Example:
        >>> text_identifier(Coded(np.arange(500), [f"order {i}" for i in range(500)]))
        '500 of 500 values are distinct'
    """
    known = int((values.codes >= 0).sum())
    distinct = len(values.levels)
    if known < _MINIMUM_ROWS or distinct < _DISTINCT * known:
        return None
    distinct = len(np.unique(values.codes[values.codes >= 0]))
    return f"{distinct} of {known} values are distinct" if distinct >= _DISTINCT * known else None


def number_identifier(values: Column, ordered: np.ndarray) -> str | None:
    """Return why a column of numbers is an identifier; None if it is not.

    A column is an identifier if its values are distinct integers, where integers drawn uniformly from the same range would repeat.
    Declare identifiers above 2^24: 32-bit floats cannot represent them exactly.

    Example:
        >>> number_identifier(np.arange(500), np.arange(500, dtype=np.float32))
        '500 different whole numbers'
    """
    rows = len(ordered)
    if rows < _MINIMUM_ROWS:
        return None
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu" and values.dtype.itemsize > 2:
        exact = np.sort(values)
    elif ordered[-1] < 1 << 24 and ordered[0] > -(1 << 24):
        exact = ordered
    else:
        return None
    head = exact[:128]
    # fast exit: almost all amounts repeat or have fractions
    if not (np.diff(head) > 0).all() or (exact.dtype.kind == "f" and not (head == np.trunc(head)).all()):
        return None
    if not (exact[1:] > exact[:-1]).all() or (exact.dtype.kind == "f" and not (exact == np.trunc(exact)).all()):
        return None
    if rows**2 / 2 < _EXPECTED_REPEATS * (float(exact[-1]) - float(exact[0]) + 1):
        return None
    return f"{rows} different whole numbers"


NULL_PATTERNS = "null_patterns"
NONE = "none"
# bits of a 64-bit word without the sign
_WORD = 62

Mask = npt.NDArray[np.bool_]


def null_patterns(masks: Sequence[tuple[str, Mask | None]], rows: int) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return each row's null pattern as a code, and the name of each code: the null columns joined by ``+``, or ``none``.

    Args:
        masks: Name of each column and its null mask, shape (rows,); None if no row is null.
        rows: Number of rows.

    Example:
        >>> stock = np.array([False, True, True])
        >>> null_patterns([("price", None), ("stock", stock)], 3)
        (array([0, 1, 1]), ['none', 'stock'])
    """
    holed = [(name, mask) for name, mask in masks if mask is not None]
    codes = np.zeros(rows, dtype=np.int64)
    if not holed or rows == 0:
        return codes, [NONE] if rows else []
    # most rows have no nulls: inspect only the others
    some = np.zeros(rows, dtype=np.bool_)
    for _, mask in holed:
        some |= mask
    where = np.flatnonzero(some)
    if len(where) == 0:
        return codes, [NONE]
    found = np.zeros(len(where), dtype=np.int64)
    for start in range(0, len(holed), _WORD):
        word = np.zeros(len(where), dtype=np.int64)
        for bit, (_, mask) in enumerate(holed[start : start + _WORD]):
            word |= mask[where].astype(np.int64) << bit
        distinct, inverse = np.unique(word, return_inverse=True)
        found = np.unique(found * len(distinct) + inverse, return_inverse=True)[1]
    examples = where[np.unique(found, return_index=True)[1]]
    names = ["+".join(name for name, mask in holed if mask[example]) for example in examples.tolist()]
    if len(where) == rows:
        return found, names
    codes[where] = found + 1
    return codes, [NONE, *names]


Wide = npt.NDArray[np.float64]


def spread_scores(bins: Wide) -> Wide:
    """Return each bin's normal score of scale: the mean of z squared minus 1 over the bin's part of a normal distribution.

    Their mean over the baseline is 0. If the scale of the values' normal scores grows by a factor of 1 + g, the mean rises by about
    g times the scores' mean square. Scores are bounded, hence robust to heavy tails, and depend on ranks only: a price has the
    scores of its logarithm. The score of a bin that is empty in the baseline is interpolated from its neighbours.

    See: Klotz 1962, "Nonparametric tests for scale", Annals of Mathematical Statistics 33.

    Example:
        >>> spread_scores(np.array([0.0, 10.0, 80.0, 10.0])).round(2).tolist()
        [2.25, 2.25, -0.56, 2.25]
    """
    return _scores(bins, lambda z, density: z * density)


def place_scores(bins: Wide) -> Wide:
    """Return each bin's normal score of location: the mean of z over the bin's part of a normal distribution.

    Like `spread_scores` they are bounded and depend on ranks only. Their mean over the baseline is 0.

    See: van der Waerden 1952, "Order tests for the two-sample problem and their power", Indagationes Mathematicae 14.

    Example:
        >>> place_scores(np.array([0.0, 10.0, 70.0, 20.0])).round(2).tolist()
        [-1.75, -1.75, -0.15, 1.4]
    """
    return _scores(bins, lambda _, density: density)


def _scores(bins: Wide, primitive: Callable[[float, float], float]) -> Wide:
    """Return the mean over each bin of the function whose integral against the normal density is minus ``primitive``."""
    used = np.flatnonzero(bins)
    if len(used) == 0:
        return np.zeros(len(bins))
    shares = bins[used] / bins.sum()
    normal = NormalDist()
    z = [normal.inv_cdf(share) for share in np.clip(np.cumsum(shares)[:-1], 1e-15, 1 - 1e-15)]
    ends = np.array([0.0, *(primitive(one, normal.pdf(one)) for one in z), 0.0])
    return np.asarray(np.interp(np.arange(len(bins)), used, -np.diff(ends) / shares), dtype=np.float64)
