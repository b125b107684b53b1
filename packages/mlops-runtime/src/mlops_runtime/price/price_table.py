"""List prices of one region, from the package's dated table ``prices.json``.

The table is maintained by hand from AWS's price pages, which it links by key, and is only as current as its date. ``source`` is
how the prices were obtained, ``checked`` the rows that public text confirmed later. It has few regions and instance types:
missing prices are reported, never guessed.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any


class PriceError(ValueError):
    """The table has no prices for a region; the message names the regions that it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """List prices of a region in USD, before taxes, discounts and free tiers."""

    region: str
    date: str  # when the prices were read, ISO 8601
    sources: Mapping[str, str]  # AWS's price page by key
    # price by key. The key ends with the unit: `_hour`, `_month`, `_gb`, `_million_requests`, `_million_gb_seconds`
    usd: Mapping[str, float]
    hosting_hour: Mapping[str, float]  # price of one endpoint instance per hour, by instance type


@functools.cache
def _document() -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(
        resources.files("mlops_runtime.price").joinpath("prices.json").read_text("utf-8")
    )
    return document


def priced_regions() -> tuple[str, ...]:
    """Return the regions with prices in the table, sorted."""
    return tuple(sorted(_document()["regions"]))


def price_table(region: str) -> PriceTable:
    """Return the prices of a region.

    Raises:
        PriceError: If the table has none for it.

    Example:
        >>> price_table("us-east-1").usd["alarm_month"]
        0.1
    """
    document = _document()
    if region not in document["regions"]:
        known = ", ".join(priced_regions())
        raise PriceError(
            f"the price table of {document['date']} has no prices for region {region!r}; it has {known}: "
            "look the region up on the pages listed in mlops_runtime/price/prices.json"
        )
    found = document["regions"][region]
    return PriceTable(
        region=region,
        date=document["date"],
        sources=document["sources"],
        usd={key: value for key, value in found.items() if key != "hosting_hour"},
        hosting_hour=found["hosting_hour"],
    )
