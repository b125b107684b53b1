"""Hourly prices from the package's table.

Spent amount of a verification, and whether its next step may begin.
"""

from datetime import UTC, datetime, timedelta

import pytest

from mlops_runtime.price.price_table import PriceError, price_table
from mlops_runtime.verify.budget import KEY, NETWORK_ENDPOINT, Budget, hourly_prices
from mlops_runtime.verify.problems import BudgetError
from mlops_runtime.verify.steps import INSTANCE

REGIONS = ("eu-central-1", "eu-west-1", "us-east-1", "us-west-2")


PRICES = hourly_prices("us-east-1")
START = datetime(2026, 11, 28, tzinfo=UTC)


def test_a_region_without_prices_is_refused() -> None:
    """The message contains the known Regions."""
    with pytest.raises(PriceError, match=r"eu-south-2.*us-west-2"):
        hourly_prices("eu-south-2")
    assert hourly_prices("eu-west-1").hourly[KEY] == pytest.approx(1 / 730)


@pytest.mark.parametrize("region", REGIONS)
def test_every_kind_of_a_step_has_a_price_of_the_table(region: str) -> None:
    """The prices have the table's date."""
    prices, table = hourly_prices(region), price_table(region)

    assert (prices.region, prices.date) == (region, table.date)
    assert prices.hourly[INSTANCE] == table.hosting_hour[INSTANCE] > 0
    assert prices.hourly[NETWORK_ENDPOINT] == table.usd["interface_endpoint_hour"] > 0


@pytest.mark.parametrize(("hours", "billed"), [(0.0, 0), (0.01, 1), (1.0, 1), (1.5, 2)])
def test_a_begun_hour_of_an_interface_endpoint_counts_whole(hours: float, billed: int) -> None:
    """Instances are billed by the second."""
    prices = hourly_prices("us-east-1")

    assert prices.cost(NETWORK_ENDPOINT, count=3, hours=hours) == pytest.approx(3 * 0.01 * billed)
    assert prices.cost(INSTANCE, count=2, hours=hours) == pytest.approx(2 * 0.115 * hours)


def test_a_kind_that_the_table_lacks_has_no_price() -> None:
    """A missing price does not count as free."""
    with pytest.raises(KeyError, match=r"ml\.none"):
        hourly_prices("us-east-1").cost("ml.none", count=1, hours=1)


def hours(number: float) -> datetime:
    """Return a time in hours after the start."""
    return START + timedelta(hours=number)


def test_begun_hours_of_the_network_count_whole() -> None:
    """Instances by the second, endpoints of the network by the hour."""
    budget = Budget(limit=1, prices=PRICES)
    budget.start({NETWORK_ENDPOINT: 8, INSTANCE: 2}, START)

    assert budget.spent(hours(0.5)) == pytest.approx(8 * 0.01 + 2 * 0.115 / 2)
    budget.stop({INSTANCE: 2}, hours(0.5))
    assert budget.spent(hours(1.5)) == pytest.approx(2 * 8 * 0.01 + 2 * 0.115 / 2)


def test_the_budget_keeps_the_teardown_aside() -> None:
    """The budget covers spent, planned and teardown costs together."""
    budget = Budget(limit=0.30, prices=PRICES, reserve=0.05)
    budget.start({INSTANCE: 2}, START)

    budget.check(hours(1), ahead=0.02)
    with pytest.raises(BudgetError, match=r"over --max-usd 0\.3; give at least 0\.31"):
        budget.check(hours(1), ahead=0.03)
    with pytest.raises(BudgetError):
        budget.check(hours(1.1), ahead=0.02)


def test_the_newest_of_a_kind_ends_first() -> None:
    """The second fleet of a rollout ends, the first one continues; ending an unstarted kind does nothing."""
    budget = Budget(limit=1, prices=PRICES)
    budget.start({INSTANCE: 2}, START)
    budget.start({INSTANCE: 4}, hours(1))
    budget.stop({INSTANCE: 4, NETWORK_ENDPOINT: 1}, hours(2))

    assert budget.spent(hours(3)) == pytest.approx((2 * 3 + 4 * 1) * 0.115)


def test_a_clock_that_goes_back_gives_nothing_back() -> None:
    """A resource that started after the requested time has cost nothing yet."""
    budget = Budget(limit=1, prices=PRICES)
    budget.start({INSTANCE: 2}, hours(1))

    assert budget.spent(START) == 0


def test_exactly_the_limit_is_within_it() -> None:
    """One more cent exceeds it."""
    Budget(limit=0.25, prices=PRICES, reserve=0.125).check(START, ahead=0.125)
    with pytest.raises(BudgetError, match=r"may cost 0\.26 more, over --max-usd 0\.25; give at least 0\.26"):
        Budget(limit=0.25, prices=PRICES, reserve=0.125).check(START, ahead=0.135)
