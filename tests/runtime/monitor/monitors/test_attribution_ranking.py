"""Clarify's NDCG, checked against the example of its guide and scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.monitor.monitors.attribution_ranking import AttributionError, attribution_violations, compare, ndcg

TRAINING = {"SAT score": 0.70, "GPA": 0.50, "Class rank": 0.05}
REVERSED = {"SAT score": 0.10, "GPA": 0.20, "Class rank": 0.70}
_values = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0, 3.0, 7.5, 1e6]), min_size=2, max_size=12)


def test_the_guides_example_gives_the_guides_number():
    """The reversed ranking of the college admissions gives 0.69."""
    assert round(ndcg(TRAINING, REVERSED), 2) == 0.69


@given(_values, st.randoms(use_true_random=False))
def test_it_is_scikit_learns(values, random):
    """Agrees with ties and zeros, in any order of the features."""
    values[0] = max(values[0], 0.1)
    live = [random.choice(values) for _ in values]
    names = [f"f{i}" for i in range(len(values))]
    found = ndcg(dict(zip(names, values, strict=True)), dict(zip(names, live, strict=True)))
    assert found == pytest.approx(ndcg_score(np.array([values]), np.array([live])), rel=1e-12)
    assert 0 <= found <= 1 + 1e-12
    turned = ndcg(dict(zip(names, values, strict=True)), dict(zip(reversed(names), reversed(live), strict=True)))
    assert turned == pytest.approx(found, rel=1e-12)


@given(_values, st.floats(0.001, 1000))
def test_the_same_ranking_is_1_whatever_its_scale(values, scale):
    """Predictions in cents instead of dollars are no drift."""
    values[0] = max(values[0], 0.1)
    names = [f"f{i}" for i in range(len(values))]
    baseline = dict(zip(names, values, strict=True))
    assert ndcg(baseline, {name: value * scale for name, value in baseline.items()}) == pytest.approx(1, rel=1e-12)


def test_below_the_minimum_is_a_violation_that_names_what_rose():
    """The violation has Clarify's check type and words, and names the top features before and now."""
    found = compare(TRAINING, REVERSED, 0.9)
    assert found.state is MonitorState.VIOLATION
    (line,) = attribution_violations(TRAINING, found, 0.9, "label0")
    assert line["constraint_check_type"] == "feature_attribution_drift_check"
    assert line["description"].startswith("Feature attribution drift 0.6876 exceeds threshold 0.9")
    assert line["description"].endswith("were SAT score, GPA, Class rank, now they are Class rank, GPA, SAT score")
    same = compare(TRAINING, TRAINING, 0.9)
    assert (same.state, same.ndcg) == (MonitorState.OK, 1.0)
    assert attribution_violations(TRAINING, same, 0.9, "label0") == []


@pytest.mark.parametrize(
    ("baseline", "live", "message"),
    [
        ({"a": 1.0}, {"b": 1.0}, "'a' only in the baseline, 'b' only in live data"),
        (
            {"a": math.nan},
            {"a": -1.0},
            "of the baseline must be finite and 0 or more, got 'a' nan; attributions of live",
        ),
        ({"a": 0.0, "b": 0.0}, {"a": 1.0, "b": 1.0}, "above 0 for at least one feature"),
    ],
)
def test_fails_when_there_is_nothing_to_compare(baseline, live, message):
    """Rejects an empty comparison and reports all problems together."""
    with pytest.raises(AttributionError, match=message):
        ndcg(baseline, live)
