"""Compare the package's price table with AWS's own list, which ``pricing:GetProducts`` returns to an account.

Each row of the table is one usage type of a service. GetProducts returns products as JSON strings, with the usage type among the
attributes, and terms whose dimensions have a unit, a range and a price in USD:
https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any, Literal

from mlops_runtime.price.price_table import PriceTable

# GetProducts has endpoints in few Regions, which cover all: https://docs.aws.amazon.com/general/latest/gr/billing.html
PRICING_REGION = "us-east-1"
OLD_DAYS = 180  # age after which list prices should be checked again
_TOLERANCE = 0.001  # relative; the table is rounded like AWS's pages
_PAGES = 10  # maximum per usage type, which has only a few products

State = Literal["same", "differs", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedUsage:
    """Name of a row of the table in AWS's list."""

    service: str  # service code
    usage: str  # usage type without the prefix for the Region
    times: float = 1.0  # units of the list per unit of the table. Default: one
    family: str | None = None  # product family, if several have similar usage types. Default: any


# claim: price-list-names-usage-types
USAGES: Mapping[str, PricedUsage] = {
    "alarm_month": PricedUsage(service="AmazonCloudWatch", usage="CW:AlarmMonitorUsage"),
    "api_million_requests": PricedUsage(service="AmazonApiGateway", usage="ApiGatewayRequest", times=1e6),
    "composite_alarm_month": PricedUsage(service="AmazonCloudWatch", usage="CW:CompositeAlarmMonitorUsage"),
    "dashboard_month": PricedUsage(service="AmazonCloudWatch", usage="DashboardsUsageHour"),
    "firewall_million_requests": PricedUsage(service="awswaf", usage="RequestV2-Tier1", times=1e6),
    "firewall_month": PricedUsage(service="awswaf", usage="WebACLV2"),
    "firewall_rule_month": PricedUsage(service="awswaf", usage="RuleV2"),
    "function_million_gb_seconds": PricedUsage(service="AWSLambda", usage="Lambda-GB-Second", times=1e6),
    "function_million_requests": PricedUsage(service="AWSLambda", usage="Request", times=1e6),
    "interface_endpoint_hour": PricedUsage(service="AmazonVPC", usage="VpcEndpoint-Hours"),
    "key_month": PricedUsage(service="awskms", usage="KMS-Keys"),
    "load_balancer_hour": PricedUsage(service="AWSELB", usage="LoadBalancerUsage", family="Load Balancer-Application"),
    "log_gb": PricedUsage(service="AmazonCloudWatch", usage="DataProcessing-Bytes"),
    "metric_month": PricedUsage(service="AmazonCloudWatch", usage="CW:MetricMonitorUsage"),
    "queue_million_requests": PricedUsage(service="AWSQueueService", usage="Requests-RBP", times=1e6),
}
_HOSTING = "hosting_hour/"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPrice:
    """A row of the table beside the list: both prices in USD, and a detail if the list has several prices or none."""

    row: str
    ours: float
    listed: float | None
    state: State
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPrices:
    """The table of a Region beside the list; ``days`` is its age."""

    region: str
    date: str
    days: int
    rows: tuple[ComparedPrice, ...]

    @property
    def is_old(self) -> bool:
        """Whether prices may have changed, even if all rows are equal."""
        return self.days > OLD_DAYS


def usage_of(row: str) -> PricedUsage:
    """Return the name of a row in AWS's list.

    Example:
        >>> usage_of("hosting_hour/ml.m5.large").usage
        'Host:ml.m5.large'
    """
    if row.startswith(_HOSTING):
        return PricedUsage(service="AmazonSageMaker", usage=f"Host:{row.removeprefix(_HOSTING)}")
    return USAGES[row]


def rows_of(table: PriceTable) -> dict[str, float]:
    """Return the rows of a table by name."""
    return {**table.usd, **{f"{_HOSTING}{kind}": price for kind, price in table.hosting_hour.items()}}


def compared(table: PriceTable, pricing: Any, *, today: date) -> ComparedPrices:
    """Compare a table with AWS's list, row by row.

    Args:
        table: The table of a Region.
        pricing: Client of ``PRICING_REGION``, which may call GetProducts.
    """
    rows = tuple(_compared(row, ours, table.region, pricing) for row, ours in sorted(rows_of(table).items()))
    days = (today - date.fromisoformat(table.date)).days
    return ComparedPrices(region=table.region, date=table.date, days=days, rows=rows)


def _compared(row: str, ours: float, region: str, pricing: Any) -> ComparedPrice:
    usage = usage_of(row)
    found = sorted({price for product in _products(usage, region, pricing) for price in _first_prices(product)})
    listed = [price * usage.times for price in found]
    if len(listed) != 1:
        several = f"{len(listed)} prices: {', '.join(f'{price:g}' for price in listed)}"
        detail = several if listed else f"no product of {usage.service} with usage type {usage.usage}"
        return ComparedPrice(row=row, ours=ours, listed=None, state="unknown", detail=detail)
    is_same = abs(listed[0] - ours) <= _TOLERANCE * ours
    return ComparedPrice(row=row, ours=ours, listed=listed[0], state="same" if is_same else "differs")


def _products(usage: PricedUsage, region: str, pricing: Any) -> Iterator[Mapping[str, Any]]:
    pages = pricing.get_paginator("get_products").paginate(
        ServiceCode=usage.service,
        FormatVersion="aws_v1",
        Filters=[
            {"Type": "TERM_MATCH", "Field": "regionCode", "Value": region},
            {"Type": "CONTAINS", "Field": "usagetype", "Value": usage.usage},
        ],
        PaginationConfig={"PageSize": 100},
    )
    for page in islice(pages, _PAGES):
        for text in page["PriceList"]:
            product = json.loads(text)
            named = str(product["product"]["attributes"].get("usagetype", ""))
            # usage types may have the same ending: m5.large and r5m5.large
            is_it = named == usage.usage or named.endswith(f"-{usage.usage}")
            if is_it and usage.family in (None, product["product"].get("productFamily")):
                yield product


def _first_prices(product: Mapping[str, Any]) -> Iterator[float]:
    """Yield the on-demand price of the first unit after a free tier, as in the table."""
    for term in product["terms"].get("OnDemand", {}).values():
        priced = [
            (float(each.get("beginRange") or 0), float(each["pricePerUnit"]["USD"]))
            for each in term["priceDimensions"].values()
            if float(each["pricePerUnit"].get("USD", 0)) > 0
        ]
        if priced:
            yield min(priced)[1]
