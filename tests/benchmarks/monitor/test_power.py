"""A small slice of the power campaign: every shift is reported by feature in a window of 20,000 rows, and no other is."""

import pytest
from benchmarks.monitor.campaign import fit
from benchmarks.monitor.power import delay, shifted
from benchmarks.monitor.windows import PAIRS, SHIFTS, independent

from mlops_runtime.contracts.monitor import Baseline

# equivalent features: a null is a null pattern too
ALSO = {"nulls 1 to 5 %": {"null_patterns"}}


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    """Independent rows."""
    return fit(independent(20_000, 77), pairs=PAIRS)


@pytest.mark.parametrize("shift", SHIFTS)
def test_each_shift_is_found_by_name(baseline: Baseline, shift: str) -> None:
    """The right feature, and no other."""
    found = shifted(baseline, shift, 20_000, 5, 1)
    assert found["named"] == 1
    assert set(found["others"]) <= ALSO.get(shift, set())


def test_a_slow_rise_is_seen_early(baseline: Baseline) -> None:
    """Five percent per window of 5,000 rows: persistent by the third."""
    found = delay(baseline, 0.05, 5000, 1)
    assert found["persists"] is not None
    assert found["persists"] <= 4
