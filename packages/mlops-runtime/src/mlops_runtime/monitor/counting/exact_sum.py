"""Exact sums of numbers: the same value, and the same bytes, in whatever order and grouping they are added.

A vector is split into parts whose sum has no rounding at all (error-free vector transformation); parts are added by
``math.fsum``, which rounds once, at the end.

See: Rump, Ogita and Oishi 2008, "Accurate floating-point summation part I: faithful rounding", SIAM Journal on Scientific
Computing 31, algorithm 3.3; Shewchuk 1997, "Adaptive precision floating-point arithmetic and fast robust geometric predicates",
Discrete and Computational Geometry 18.
"""

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Wide = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]

# rows at once: two vectors of doubles that stay in a core's cache
_BLOCK = 1 << 14
# exact parts that are kept before they are made few
_PARTS = 256


class ExactSums:
    """Adds finite numbers, apart by group, without rounding.

    Args:
        groups: How many groups there are. Default: one.

    Example:
        >>> sums = ExactSums()
        >>> sums.add(np.array([1e16, 1.0, -1e16]))
        >>> sums.result(0)
        (1.0, None)
    """

    def __init__(self, groups: int = 1) -> None:
        self._groups = groups
        self._parts: list[Wide] = []

    def add(self, values: Wide, groups: Groups | None = None) -> None:
        """Add values.

        Args:
            values: Finite, of a magnitude up to 1e300.
            groups: Each value's group. Default: all are of the first.
        """
        for start in range(0, len(values), _BLOCK):
            stop = start + _BLOCK
            self._extract(values[start:stop].copy(), None if groups is None else groups[start:stop])
        if len(self._parts) > _PARTS:
            self._parts = self._few()

    def result(self, group: int) -> tuple[float, tuple[float, ...] | None]:
        """Return a group's sum and what it leaves: see `expansion`."""
        return expansion(float(part[group]) for part in self._parts)

    def _extract(self, left: Wide, groups: Groups | None) -> None:
        high = np.empty_like(left)
        while (largest := float(np.abs(left, out=high).max())) > 0:
            # every multiple of its last place up to the sum of all magnitudes is a double: no sum below can round
            step = 2.0 ** (math.frexp(largest)[1] + len(left).bit_length())
            np.add(left, step, out=high)
            high -= step
            left -= high
            total: Wide = np.zeros(self._groups)
            if groups is None:
                total[0] = high.sum()
            else:
                total += np.bincount(groups, weights=high, minlength=self._groups)
            self._parts.append(total)

    def _few(self) -> list[Wide]:
        """Return the same sums in as few parts as the longest expansion has terms."""
        terms = [(value, *(rest or ())) for value, rest in map(self.result, range(self._groups))]
        parts = np.zeros((max(map(len, terms)), self._groups))
        for group, of_group in enumerate(terms):
            parts[: len(of_group), group] = of_group
        return list(parts)


def expansion(parts: Iterable[float]) -> tuple[float, tuple[float, ...] | None]:
    """Return the exact sum of parts as the nearest double, and the terms that it leaves; None if it leaves nothing.

    Each term is the nearest double to what the terms before it leave, so that one value has one form.

    Example:
        >>> expansion([1e16, 1.0, 1.0, 1.0])
        (1.0000000000000004e+16, (-1.0,))
    """
    left = list(parts)
    terms = []
    while (term := math.fsum(left)) != 0:
        terms.append(term)
        left.append(-term)
    return (terms[0] if terms else 0.0), (tuple(terms[1:]) or None)
