"""Clarify's metrics against its documentation's examples, its library's test cases, and arithmetic over rows."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from mlops_runtime.monitor.monitors import bias_metrics as confusion
from mlops_runtime.monitor.monitors.rows import Wide

Row = tuple[bool, bool, bool]


def table_of(rows: Sequence[Row]) -> Wide:
    """Return counts by group, label and prediction, as of a single draw."""
    table = np.zeros((1, 2, 2, 2))
    for d, y, p in rows:
        table[0, int(d), int(y), int(p)] += 1
    return table


# aws/amazon-sagemaker-clarify, tests/unit/bias/metrics/test_metrics.py: labels and predicted labels of twelve people
_SEX = "MFFMFMFFMMFF"
_LABEL = (0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0)
_PREDICTED = (1, 1, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0)
_OF_WOMEN = {
    "CI": -1 / 6,
    "DI": 10 / 7,
    "DCA": 1 / 4,
    "DCR": 1 / 3,
    "RD": -2 / 3,
    "DRR": 1 / 3,  # the library's first versions had a - d; its page and later versions have d - a
    "DAR": -1 / 2,
    "AD": -13 / 35,
    "TE": -1 / 2,
}


@pytest.mark.parametrize(("facet", "sign"), [("F", 1), ("M", -1)])
def test_the_librarys_own_cases(facet: str, sign: int) -> None:
    """Swapping the groups changes the sign of differences and inverts ratios."""
    rows = [(sex == facet, y == 1, p == 1) for sex, y, p in zip(_SEX, _LABEL, _PREDICTED, strict=True)]
    table = table_of(rows)
    found = {**confusion.post_training(table), **confusion.of_predictions(table.sum(axis=2))}
    for name, value in _OF_WOMEN.items():
        expected = value ** (1 if sign == 1 else -1) if name == "DI" else sign * value
        assert found[name][0] == pytest.approx(expected), name


def group(tn: float, fp: float, fn: float, tp: float) -> list[list[float]]:
    """Return the counts of one group."""
    return [[tn, fp], [fn, tp]]


@pytest.mark.parametrize(
    ("name", "a", "d", "expected"),
    [
        ("DAR", group(0, 35, 0, 35), group(0, 60, 0, 40), 0.10),
        ("DRR", group(80, 0, 20, 0), group(40, 0, 10, 0), 0.0),
        ("SD", group(20, 10, 5, 65), group(18, 5, 7, 20), 0.1159),
        # 8 and 5 wrongly rejected, 6 and 2 wrongly accepted
        ("TE", group(43, 6, 8, 43), group(20, 2, 5, 23), 5 / 2 - 8 / 6),
        # 60 and 30 predicted positives, 70 and 20 actual ones
        ("DCA", group(30, 0, 10, 60), group(20, 10, 0, 20), 1 / 2),
        ("DCA", group(40, 10, 0, 50), group(10, 0, 10, 30), -1 / 2),
    ],
)
def test_the_examples_of_the_pages(name: str, a: object, d: object, expected: float) -> None:
    """Agrees with the loan examples by age."""
    assert confusion.post_training(np.array([[a, d]], dtype=float))[name][0] == pytest.approx(expected, abs=1e-4)


def by_hand(rows: Sequence[Row]) -> dict[str, float]:
    """Return every metric by counting rows in plain Python, following the documentation."""

    def count(group: bool, label: bool | None = None, predicted: bool | None = None) -> int:
        return sum(d is group and label in (None, y) and predicted in (None, p) for d, y, p in rows)

    def over(part: float, whole: float) -> float:
        return part / whole if whole else math.inf if part else 0.0

    def difference(first: float, second: float) -> float:
        return 0.0 if math.isinf(first) and math.isinf(second) else first - second

    a, d = False, True
    size = {g: count(g) for g in (a, d)}
    label = {g: (count(g, False) / size[g], count(g, True) / size[g]) for g in (a, d)}
    middle = [(x + y) / 2 for x, y in zip(label[a], label[d], strict=True)]
    gaps = [abs(x - y) for x, y in zip(label[a], label[d], strict=True)]

    def divergence(p: Sequence[float], q: Sequence[float]) -> float:
        return sum(x * math.log(x / y) if y else math.inf for x, y in zip(p, q, strict=True) if x)

    def conditional(name: str) -> float:
        ratio = {
            "DCA": lambda g: over(count(g, True), count(g, None, True)),
            "DCR": lambda g: over(count(g, False), count(g, None, False)),
            "SD": lambda g: over(count(g, False, False), count(g, False)),
            "RD": lambda g: over(count(g, True, True), count(g, True)),
            "DAR": lambda g: over(count(g, True, True), count(g, None, True)),
            "DRR": lambda g: over(count(g, False, False), count(g, None, False)),
            "AD": lambda g: (count(g, True, True) + count(g, False, False)) / size[g],
            "TE": lambda g: over(count(g, True, False), count(g, False, True)),
        }[name]
        first, second = (d, a) if name in ("DCR", "SD", "DRR", "TE") else (a, d)
        return difference(ratio(first), ratio(second))

    benefits = [int(p) - int(y) + 1 for _, y, p in rows]
    mean = sum(benefits) / len(benefits)
    return {
        "CI": (size[a] - size[d]) / (size[a] + size[d]),
        "DPL": label[a][1] - label[d][1],
        "KL": divergence(label[a], label[d]),
        "JS": (divergence(label[a], middle) + divergence(label[d], middle)) / 2,
        "LP": math.hypot(*gaps),
        "TVD": sum(gaps) / 2,
        "KS": max(gaps),
        "DPPL": count(a, None, True) / size[a] - count(d, None, True) / size[d],
        "DI": over(count(d, None, True) / size[d], count(a, None, True) / size[a]),
        **{name: conditional(name) for name in ("DCA", "DCR", "SD", "RD", "DAR", "DRR", "AD", "TE")},
        "GE": sum((b / mean) ** 2 - 1 for b in benefits) / (2 * len(benefits)) if mean else math.nan,
    }


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=25))
def test_every_metric_is_what_counting_gives(rows: list[Row]) -> None:
    """Agrees with empty cells and infinities; a group without rows has no metric."""
    table = table_of(rows)
    found = {
        **confusion.pre_training(table.sum(axis=3)),
        **confusion.post_training(table),
        **confusion.of_predictions(table.sum(axis=2)),
    }
    assert set(found) == set(confusion.NAMES) - {"CDDL", "CDDPL"} == set(found) & set(confusion.STAGES)
    if len({d for d, _, _ in rows}) < 2:
        assert all(np.isnan(drawn[0]) for drawn in found.values())
        return
    expected = by_hand(rows)
    assert {name: float(drawn[0]) for name, drawn in found.items()} == pytest.approx(expected, abs=1e-9, nan_ok=True)


STRATA = st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.booleans()), min_size=1, max_size=30)


@given(STRATA)
def test_conditional_disparity_is_the_weighted_mean_of_the_strata(rows: list[tuple[int, bool, bool]]) -> None:
    """Agrees with a plain computation by stratum."""
    table = np.zeros((1, 3, 2, 2))
    for stratum, d, outcome in rows:
        table[0, stratum, int(d), int(outcome)] += 1
    found = confusion.conditional_disparity(table)[0]
    if len({outcome for *_, outcome in rows}) < 2 or len({d for _, d, _ in rows}) < 2:
        assert np.isnan(found)
        return
    expected = 0.0
    for stratum in range(3):
        part = [(d, outcome) for s, d, outcome in rows if s == stratum]
        shares = []
        for kind in (False, True):
            of_kind = [d for d, outcome in part if outcome is kind]
            shares.append(sum(of_kind) / len(of_kind) if of_kind else 0.0)
        expected += len(part) / len(rows) * (shares[0] - shares[1])
    assert found == pytest.approx(expected)


def test_supports_are_the_rows_below_the_line() -> None:
    """The support is that of the smaller group, because a ratio is as certain as its smaller part."""
    table = np.array([group(50, 6, 8, 36), group(20, 2, 5, 23)])
    found = confusion.supports(table)
    assert {name: found[name] for name in ("AD", "DAR", "DRR", "RD", "SD", "TE")} == {
        "AD": 50,
        "DAR": 25,
        "DRR": 25,
        "RD": 28,
        "SD": 22,
        "TE": 2,
    }
    assert confusion.supports_of_predictions(np.array([[90.0, 10.0], [30.0, 20.0]])) == {
        "CI": 50,
        "DPPL": 50,
        "DI": 10,
        "CDDPL": 30,
    }


@given(st.integers(0, 10_000), st.sampled_from([4, 30]))
def test_the_flip_test_asks_the_nearest_neighbours(seed: int, count: int) -> None:
    """Agrees with scikit-learn's nearest-neighbour classifier fitted on facet a; small samples use one neighbour."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(count + 6, 3))
    disfavoured = np.arange(count + 6) >= count
    positive = generator.random(count + 6) < 0.5
    neighbours = KNeighborsClassifier(5 if count > 9 else 1).fit(features[~disfavoured], positive[~disfavoured])
    would_be = neighbours.predict(features[disfavoured])
    expected = (int(would_be.sum()) - int(positive[disfavoured].sum())) / 6
    assert confusion.flip_test(features, disfavoured, positive) == pytest.approx(expected)
    assert confusion.flip_test(features, np.zeros_like(disfavoured), positive) is None
