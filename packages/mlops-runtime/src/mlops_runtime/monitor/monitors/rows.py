"""Rows of predictions and labels, on which quality and bias are measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

Wide = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

NULL = -1


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of strings: the index of each row's string in ``values``, `NULL` for null."""

    codes: Codes
    values: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str | None]) -> "Texts":
        """Return the column of strings, with sorted ``values``.

        Example:
            >>> Texts.of(["b", None, "a"]).codes.tolist()
            [1, -1, 0]
        """
        values = tuple(sorted({text for text in texts if text is not None}))
        place: dict[str | None, int] = {text: index for index, text in enumerate(values)}
        return cls(np.array([place.get(text, NULL) for text in texts], dtype=np.int64), values)

    def among(self, values: Sequence[str]) -> Mask:
        """Return which rows have one of some values."""
        return np.isin(self.codes, [index for index, text in enumerate(self.values) if text in values])

    def numbers(self) -> Wide:
        """Return the column as numbers, NaN for strings that are not numbers."""
        known = np.array([*map(_number, self.values), np.nan], dtype=np.float64)
        return known[self.codes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of calls."""

    call: Codes  # each row's call: rows of a call are not independent
    prediction: Wide  # each row's prediction, shape (rows,); (rows, width) for a model with classes or several outputs
    # each row's label, NaN if missing: for classes the index of the class, for several outputs shape (rows, outputs)
    label: Wide
    low: Wide  # lower bound of the model's prediction interval; NaN without one
    high: Wide  # upper bound of the model's prediction interval; NaN without one
    columns: Mapping[str, Texts] = field(default_factory=dict)  # columns of segments and facets

    def __len__(self) -> int:
        return len(self.prediction)

    def where(self, mask: Mask) -> "Rows":
        """Return the rows of a mask.

        Example:
            >>> rows = Rows.of(np.array([1.0, 2.0]), np.array([1.0, 3.0]))
            >>> rows.where(rows.label > 2).prediction.tolist()
            [2.0]
        """
        columns = {name: replace(texts, codes=texts.codes[mask]) for name, texts in self.columns.items()}
        return Rows(
            call=self.call[mask],
            prediction=self.prediction[mask],
            label=self.label[mask],
            low=self.low[mask],
            high=self.high[mask],
            columns=columns,
        )

    @classmethod
    def of(
        cls, prediction: Wide, label: Wide, *, call: Codes | None = None, columns: Mapping[str, Texts] | None = None
    ) -> "Rows":
        """Return rows without bounds.

        Args:
            prediction: Prediction of each row.
            label: Label of each row.
            call: Call of each row. Default: each row is its own call.
            columns: Columns of segments and facets. Default: none.
        """
        none = np.full(len(prediction), np.nan)
        return cls(
            call=np.arange(len(prediction)) if call is None else call,
            prediction=prediction,
            label=label,
            low=none,
            high=none,
            columns=columns or {},
        )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
