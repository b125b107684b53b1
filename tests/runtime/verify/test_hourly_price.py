"""Prices by the hour, out of the package's table."""

import pytest

from mlops_runtime.price.price_table import PriceError, price_table
from mlops_runtime.verify.hourly_price import KEY, NETWORK_ENDPOINT, hourly_prices
from mlops_runtime.verify.steps import INSTANCE

REGIONS = ("eu-central-1", "eu-west-1", "us-east-1", "us-west-2")


def test_a_region_without_prices_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(PriceError, match=r"eu-south-2.*us-west-2"):
        hourly_prices("eu-south-2")
    assert hourly_prices("eu-west-1").hour(KEY) == pytest.approx(1 / 730)


@pytest.mark.parametrize("region", REGIONS)
def test_every_kind_of_a_step_has_a_price_of_the_table(region: str) -> None:
    """Under the table's date."""
    prices, table = hourly_prices(region), price_table(region)

    assert (prices.region, prices.date) == (region, table.date)
    assert prices.hour(INSTANCE) == table.hosting_hour[INSTANCE] > 0
    assert prices.hour(NETWORK_ENDPOINT) == table.usd["interface_endpoint_hour"] > 0


@pytest.mark.parametrize(("hours", "billed"), [(0.0, 0), (0.01, 1), (1.0, 1), (1.5, 2)])
def test_a_begun_hour_of_an_interface_endpoint_counts_whole(hours: float, billed: int) -> None:
    """Instances are counted by the part of it."""
    prices = hourly_prices("us-east-1")

    assert prices.cost(NETWORK_ENDPOINT, count=3, hours=hours) == pytest.approx(3 * 0.01 * billed)
    assert prices.cost(INSTANCE, count=2, hours=hours) == pytest.approx(2 * 0.115 * hours)


def test_a_kind_that_the_table_lacks_has_no_price() -> None:
    """It is not taken for free."""
    with pytest.raises(KeyError, match=r"ml\.none"):
        hourly_prices("us-east-1").cost("ml.none", count=1, hours=1)
