"""The trips' data of each unit, and their losses."""

import numpy as np
import pytest
from examples.retail.demo import UNITS, run
from examples.retail.replay import log_loss, wape

from mlops_runtime.jobs.holdout_losses import row_losses


@pytest.mark.parametrize("unit", UNITS)
def test_requests_labels_and_naive_answers_belong_together(unit):
    """Each row has one of each, and the naive forecast has a valid loss."""
    replay, _ = UNITS[unit]
    period = 31
    requests, labels, naive = replay.requests(period), replay.labels(period), replay.naive(period)
    assert len(requests) == len(labels) == len(naive) > 300
    assert 0 < replay.loss(naive, labels) < 1
    assert replay.loss(labels, labels) == pytest.approx(0, abs=1e-9)
    assert replay.bad_script.is_file()


def test_losses_are_the_evaluations_own():
    """Trip and gate compute the same loss."""
    generator = np.random.default_rng(7)
    chance, bought = generator.uniform(size=50), generator.integers(0, 2, size=50).astype(float)
    assert log_loss(list(chance), list(bought)) == pytest.approx(row_losses("log_loss", chance, bought).mean())
    units, reported = generator.uniform(1, 9, size=50), generator.uniform(1, 9, size=50)
    assert wape(list(reported), list(units)) == pytest.approx(row_losses("wape", reported, units).sum() / units.sum())


def test_fails_with_a_unit_that_there_is_not(tmp_path):
    """The error lists the units."""
    with pytest.raises(
        ValueError, match="unit must be one of demand_forecasting, customer_behavior, dynamic_pricing, got 'x'"
    ):
        run(page=tmp_path / "page.html", echo=print, unit="x")
