"""What a verification has spent, and whether its next step may begin."""

from datetime import UTC, datetime, timedelta

import pytest

from mlops_runtime.verify.budget import Budget
from mlops_runtime.verify.hourly_price import NETWORK_ENDPOINT, hourly_prices
from mlops_runtime.verify.problems import BudgetError
from mlops_runtime.verify.steps import INSTANCE

PRICES = hourly_prices("us-east-1")
START = datetime(2026, 11, 28, tzinfo=UTC)


def hours(number: float) -> datetime:
    """So many hours after the start."""
    return START + timedelta(hours=number)


def test_begun_hours_of_the_network_count_whole() -> None:
    """Instances by the second, endpoints of the network by the hour."""
    budget = Budget(limit=1, prices=PRICES)
    budget.start({NETWORK_ENDPOINT: 8, INSTANCE: 2}, START)

    assert budget.spent(hours(0.5)) == pytest.approx(8 * 0.01 + 2 * 0.115 / 2)
    budget.stop({INSTANCE: 2}, hours(0.5))
    assert budget.spent(hours(1.5)) == pytest.approx(2 * 8 * 0.01 + 2 * 0.115 / 2)


def test_the_budget_keeps_the_teardown_aside() -> None:
    """What is spent, what is ahead and the teardown together."""
    budget = Budget(limit=0.30, prices=PRICES, reserve=0.05)
    budget.start({INSTANCE: 2}, START)

    budget.check(hours(1), ahead=0.02)
    with pytest.raises(BudgetError, match=r"over --max-usd 0\.3; give at least 0\.31"):
        budget.check(hours(1), ahead=0.03)
    with pytest.raises(BudgetError):
        budget.check(hours(1.1), ahead=0.02)


def test_the_newest_of_a_kind_ends_first() -> None:
    """The second fleet of a rollout goes, the first one stays; what was never started ends nothing."""
    budget = Budget(limit=1, prices=PRICES)
    budget.start({INSTANCE: 2}, START)
    budget.start({INSTANCE: 4}, hours(1))
    budget.stop({INSTANCE: 4, NETWORK_ENDPOINT: 1}, hours(2))

    assert budget.spent(hours(3)) == pytest.approx((2 * 3 + 4 * 1) * 0.115)


def test_a_clock_that_goes_back_gives_nothing_back() -> None:
    """What began later than asked for has cost nothing yet."""
    budget = Budget(limit=1, prices=PRICES)
    budget.start({INSTANCE: 2}, hours(1))

    assert budget.spent(START) == 0


def test_exactly_the_limit_is_within_it() -> None:
    """One more cent is not."""
    Budget(limit=0.25, prices=PRICES, reserve=0.125).check(START, ahead=0.125)
    with pytest.raises(BudgetError, match=r"may cost 0\.26 more, over --max-usd 0\.25; give at least 0\.26"):
        Budget(limit=0.25, prices=PRICES, reserve=0.125).check(START, ahead=0.135)
