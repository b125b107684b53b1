"""The table of list prices: complete in each region, dated, with a page for each key."""

import datetime
import json
from importlib import resources

import pytest

from mlops_runtime.price import PriceError, price_table, priced_regions


@pytest.mark.parametrize("region", priced_regions())
def test_every_region_has_every_price(region: str) -> None:
    """Each key has a number above zero and the page that it was read from."""
    table = price_table(region)

    assert set(table.usd) | {"hosting_hour"} == set(table.sources)
    assert all(price > 0 for price in (*table.usd.values(), *table.hosting_hour.values()))
    assert all(address.startswith("https://aws.amazon.com/") for address in table.sources.values())
    assert datetime.date.fromisoformat(table.date) < datetime.date(2027, 1, 1)


def test_a_region_without_prices_is_refused() -> None:
    """The message contains the known Regions and the page of prices."""
    with pytest.raises(PriceError, match=r"no prices for region 'mars-1'; it has eu-central-1, .*prices\.json"):
        price_table("mars-1")


def test_what_was_checked_is_in_the_table_once() -> None:
    """Each row that a public page confirmed is in the table, and has that page and its date."""
    document = json.loads(resources.files("mlops_runtime.price").joinpath("prices.json").read_text("utf-8"))
    rows = [(group["region"], row) for group in document["checked"] for row in group["rows"]]

    assert len(rows) == len(set(rows))
    for region, row in rows:
        key, _, instance = row.partition("/")
        table = price_table(region)
        assert (table.hosting_hour[instance] if instance else table.usd[key]) > 0
    assert all(group["source"] and group["of"] <= "2026-11" for group in document["checked"])
