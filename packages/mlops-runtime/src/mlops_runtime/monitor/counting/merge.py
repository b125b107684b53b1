"""Add counts: any grouping and any order of the parts give the same counts, bit for bit."""

from collections.abc import Iterable
from itertools import chain

import numpy as np

from mlops_runtime.contracts.monitor import Counts, FeatureCounts, PairCounts, Stratum
from mlops_runtime.monitor.counting.exact_sum import expansion
from mlops_runtime.monitor.counting.problems import add as add_problems

# parts whose sums are held before they are added up
_HELD = 64


class MergeError(ValueError):
    """Counts against different baselines do not add up."""


class _FeatureSum:
    """Adds counts of one feature."""

    def __init__(self, start: FeatureCounts) -> None:
        self._name = start.name
        self._counts = np.array(start.counts, dtype=np.int64)
        self._invalid = 0
        self._sums: list[float] = []
        self._squares: list[float] = []
        self._minimum, self._maximum = start.minimum, start.maximum
        self._take(start)

    def add(self, part: FeatureCounts) -> None:
        if len(part.counts) != len(self._counts):
            raise MergeError(
                f"counts of feature {self._name!r} must have {len(self._counts)} cells, got {len(part.counts)}"
            )
        self._counts += part.counts
        self._take(part)
        if len(self._sums) > _HELD:
            self._sums, self._squares = _terms(self._sums), _terms(self._squares)

    def _take(self, part: FeatureCounts) -> None:
        self._invalid += part.invalid
        self._sums += (part.sum, *(part.sum_rest or ()))
        self._squares += (part.sum_squares, *(part.sum_squares_rest or ()))
        if part.minimum is not None:
            self._minimum = part.minimum if self._minimum is None else min(self._minimum, part.minimum)
        if part.maximum is not None:
            self._maximum = part.maximum if self._maximum is None else max(self._maximum, part.maximum)

    def result(self) -> FeatureCounts:
        total, rest = expansion(self._sums)
        squares, squares_rest = expansion(self._squares)
        return FeatureCounts(
            name=self._name,
            counts=tuple(self._counts.tolist()),
            sum=total,
            sum_squares=squares,
            invalid=self._invalid,
            sum_rest=rest,
            sum_squares_rest=squares_rest,
            minimum=self._minimum,
            maximum=self._maximum,
        )


class _RowsSum:
    """Adds the features and the prediction of a window or a stratum."""

    def __init__(self, start: Counts | Stratum) -> None:
        self.rows = start.rows
        self._features = [_FeatureSum(feature) for feature in start.features]
        self._prediction = None if start.prediction is None else _FeatureSum(start.prediction)

    def add(self, part: Counts | Stratum) -> None:
        self.rows += part.rows
        for mine, other in zip(self._features, part.features, strict=True):
            mine.add(other)
        self._prediction = _join(self._prediction, part.prediction)

    def features(self) -> tuple[FeatureCounts, ...]:
        return tuple(feature.result() for feature in self._features)

    def prediction(self) -> FeatureCounts | None:
        return None if self._prediction is None else self._prediction.result()


def merge(start: Counts, parts: Iterable[Counts]) -> Counts:
    """Add counts. Any grouping and any order give the same counts, sums included.

    Args:
        start: What is added to, such as `empty`.
        parts: Read once, never held.

    Raises:
        MergeError: If a part was counted against another baseline, or does not have its features.
    """
    total = _RowsSum(start)
    names = [feature.name for feature in start.features]
    strata = {stratum.key: _RowsSum(stratum) for stratum in start.strata or ()}
    patterns = None if start.null_patterns is None else _FeatureSum(start.null_patterns)
    pairs = {(pair.first, pair.second): np.array(pair.counts, dtype=np.int64) for pair in start.pairs or ()}
    has_strata, problems = start.strata is not None, start.problems
    first, last = start.first, start.last
    calls, malformed = start.calls, start.malformed
    synthetic, earlier, objects = start.synthetic, start.earlier, start.objects
    unannounced = start.unannounced
    for part in parts:
        if part.baseline_sha256 != start.baseline_sha256:
            raise MergeError(f"counts must be of one baseline, got {start.baseline_sha256} and {part.baseline_sha256}")
        if [feature.name for feature in part.features] != names:
            raise MergeError(
                f"counts of baseline {start.baseline_sha256} must have its features, got {[f.name for f in part.features]}"
            )
        total.add(part)
        for stratum in part.strata or ():
            if stratum.key in strata:
                strata[stratum.key].add(stratum)
            else:
                strata[stratum.key] = _RowsSum(stratum)
        has_strata |= part.strata is not None
        patterns = _join(patterns, part.null_patterns)
        for pair in part.pairs or ():
            _add_pair(pairs, pair)
        problems = add_problems(problems, part.problems) if part.problems else problems
        first, last = min(first or part.first, part.first or first), max(last, part.last)
        calls, malformed = calls + part.calls, malformed + part.malformed
        synthetic, earlier = _both(synthetic, part.synthetic), _both(earlier, part.earlier)
        objects, unannounced = _both(objects, part.objects), _both(unannounced, part.unannounced)
    return Counts(
        baseline_sha256=start.baseline_sha256,
        rows=total.rows,
        calls=calls,
        features=total.features(),
        first=first,
        last=last,
        prediction=total.prediction(),
        malformed=malformed,
        synthetic=synthetic or None,
        unannounced=unannounced or None,
        earlier=earlier or None,
        strata=tuple(
            Stratum(key=key, rows=of_key.rows, features=of_key.features(), prediction=of_key.prediction())
            for key, of_key in sorted(strata.items())
        )
        if has_strata
        else None,
        null_patterns=None if patterns is None else patterns.result(),
        pairs=tuple(PairCounts(first=a, second=b, counts=tuple(c.tolist())) for (a, b), c in pairs.items()) or None,
        problems=problems,
        objects=objects,
    )


def _join(sums: _FeatureSum | None, part: FeatureCounts | None) -> _FeatureSum | None:
    if part is None:
        return sums
    if sums is None:
        return _FeatureSum(part)
    sums.add(part)
    return sums


def _add_pair(pairs: dict[tuple[str, str], np.ndarray], part: PairCounts) -> None:
    key = part.first, part.second
    if key not in pairs:
        pairs[key] = np.array(part.counts, dtype=np.int64)
    elif len(pairs[key]) != len(part.counts):
        raise MergeError(f"counts of pair {key!r} must have {len(pairs[key])} cells, got {len(part.counts)}")
    else:
        pairs[key] += part.counts


def _both(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other


def _terms(parts: Iterable[float]) -> list[float]:
    value, rest = expansion(parts)
    return [value, *chain(rest or ())]
