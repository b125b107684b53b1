"""The price table compared with AWS's price list, in the documented format of GetProducts."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from mlops_runtime.price import PriceTable
from mlops_runtime.price.price_list import USAGES, ComparedPrices, compared, rows_of, usage_of
from mlops_runtime.price.price_table import price_table, priced_regions

TABLE = PriceTable(
    region="eu-west-1", date="2026-01-31", sources={}, usd={"alarm_month": 0.1}, hosting_hour={"ml.m5.large": 0.128}
)
TODAY = date(2026, 2, 10)


def product(usage: str, *prices: tuple[str, str], family: str = "Metric") -> str:
    """Return a product in the format of the API's page, with the price of the first range, in USD."""
    dimensions = {
        f"S.T.{number}": {"unit": "Alarms", "beginRange": begin, "endRange": "Inf", "pricePerUnit": {"USD": usd}}
        for number, (begin, usd) in enumerate(prices)
    }
    attributes = {"servicecode": "AmazonCloudWatch", "regionCode": "eu-west-1", "usagetype": usage}
    return json.dumps(
        {
            "product": {"productFamily": family, "attributes": attributes, "sku": "S"},
            "serviceCode": "AmazonCloudWatch",
            "terms": {
                "OnDemand": {"S.T": {"priceDimensions": dimensions, "sku": "S", "offerTermCode": "T"}},
                "Reserved": {"S.R": {"priceDimensions": {"S.R.1": {"pricePerUnit": {"USD": "9"}}}}},
            },
            "version": "20260201",
            "publicationDate": "2026-02-01T00:00:00Z",
        }
    )


@pytest.fixture
def pricing() -> Iterator[tuple[Any, Stubber]]:
    """Return a client whose responses are validated against the service's model."""
    client = boto3.client("pricing", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stubber:
        yield client, stubber


def _answers(stubber: Stubber, *pages: list[str]) -> None:
    for number, page in enumerate(pages):
        more = {"NextToken": f"n{number}"} if number + 1 < len(pages) else {}
        stubber.add_response("get_products", {"FormatVersion": "aws_v1", "PriceList": page, **more})


def _compared(pricing: tuple[Any, Stubber], alarm: list[list[str]], host: list[list[str]]) -> ComparedPrices:
    client, stubber = pricing
    _answers(stubber, *alarm)
    _answers(stubber, *host)
    return compared(TABLE, client, today=TODAY)


def test_what_differs_and_what_is_not_listed_is_told(pricing: tuple[Any, Stubber]) -> None:
    """A row is found by its usage type with any prefix; free tiers and other terms are ignored."""
    alarm = [[product("EU-CW:AlarmMonitorUsage", ("0", "0"), ("10", "0.1000000000"))]]
    host = [
        [product("EU-Other-Host:ml.m5.large2", ("0", "7"))],
        [product("EU-Host:ml.m5.large", ("0", "0.1150000000"), ("100", "0.1"))],
    ]
    found = _compared(pricing, alarm, host)
    assert [(row.row, row.ours, row.listed, row.state) for row in found.rows] == [
        ("alarm_month", 0.1, 0.1, "same"),
        ("hosting_hour/ml.m5.large", 0.128, 0.115, "differs"),
    ]
    assert (found.region, found.days, found.is_old) == ("eu-west-1", 10, False)


@pytest.mark.parametrize(
    ("listed", "detail"),
    [
        ([], "no product of AmazonCloudWatch with usage type CW:AlarmMonitorUsage"),
        (
            [product("EU-CW:AlarmMonitorUsage", ("0", "0"))],
            "no product of AmazonCloudWatch with usage type CW:AlarmMonitorUsage",
        ),
        (
            [product("CW:AlarmMonitorUsage", ("0", "0.1")), product("EU-CW:AlarmMonitorUsage", ("0", "0.3"))],
            "2 prices: 0.1, 0.3",
        ),
    ],
)
def test_what_is_not_clear_is_unknown(pricing: tuple[Any, Stubber], listed: list[str], detail: str) -> None:
    """Ambiguous products are unknown, and an unknown row is no difference."""
    found = _compared(pricing, [listed], [[product("EU-Host:ml.m5.large", ("0", "0.128"))]])
    assert [(row.state, row.listed, row.detail) for row in found.rows] == [
        ("unknown", None, detail),
        ("same", 0.128, ""),
    ]


def test_a_family_tells_balancers_apart(pricing: tuple[Any, Stubber]) -> None:
    """Both have the same usage type."""
    client, stubber = pricing
    families = [
        product("EU-LoadBalancerUsage", ("0", price), family=family)
        for family, price in (("Load Balancer", "0.028"), ("Load Balancer-Application", "0.0252"))
    ]
    _answers(stubber, families)
    table = PriceTable(
        region="eu-west-1", date="2025-01-01", sources={}, usd={"load_balancer_hour": 0.0252}, hosting_hour={}
    )
    found = compared(table, client, today=TODAY)
    assert ([row.state for row in found.rows], found.is_old) == (["same"], True)


@pytest.mark.parametrize("region", priced_regions())
def test_every_row_of_the_table_has_a_name_in_the_list(region: str) -> None:
    """A new row of the table must be added here too."""
    rows = rows_of(price_table(region))
    assert all(usage_of(row).usage for row in rows)
    assert set(USAGES) >= {row for row in rows if "/" not in row}
