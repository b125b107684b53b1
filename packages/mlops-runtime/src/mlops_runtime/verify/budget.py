"""Costs of a verification by the price table, with started hours rounded up as on AWS, and the possible costs of the next step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mlops_runtime.price.monthly_price import HOURS
from mlops_runtime.price.price_table import price_table
from mlops_runtime.verify.problems import BudgetError

NETWORK_ENDPOINT, KEY = "interface endpoint", "key"
WHOLE_HOURS = frozenset(
    {NETWORK_ENDPOINT}
)  # https://aws.amazon.com/privatelink/pricing/: partial hours are billed as full


@dataclass(frozen=True, slots=True, kw_only=True)
class HourlyPrices:
    """Prices of one region."""

    region: str
    date: str  # when the prices were read, ISO 8601
    # USD an hour by kind: `interface endpoint` in a zone, `key`, and instance types of endpoints
    hourly: Mapping[str, float]

    def cost(self, kind: str, *, count: int, hours: float) -> float:
        """Return USD for resources of a kind over some hours, with AWS's rounding.

        Example:
            >>> hourly_prices("us-east-1").cost("interface endpoint", count=8, hours=0.2)
            0.08
        """
        billed = math.ceil(hours) if kind in WHOLE_HOURS else hours
        return self.hourly[kind] * count * billed


def hourly_prices(region: str) -> HourlyPrices:
    """Return the prices of a region.

    Raises:
        PriceError: If the table does not have the region; names those that it has.
    """
    table = price_table(region)
    named = {NETWORK_ENDPOINT: table.usd["interface_endpoint_hour"], KEY: table.usd["key_month"] / HOURS}
    return HourlyPrices(region=region, date=table.date, hourly={**table.hosting_hour, **named})


@dataclass(slots=True, kw_only=True)
class _Item:
    kind: str
    count: int
    since: datetime
    until: datetime | None = None


class Budget:
    """Sums up the costs of existing resources at the table's prices.

    Args:
        limit: USD that may be spent.
        prices: The region's prices.
        reserve: USD reserved for the teardown.
    """

    def __init__(self, *, limit: float, prices: HourlyPrices, reserve: float = 0.0) -> None:
        self.limit, self.prices, self.reserve = limit, prices, reserve
        self._items: list[_Item] = []

    def start(self, things: Mapping[str, int], at: datetime) -> None:
        """Count resources of each kind from a time on, whether or not their creation succeeds."""
        self._items += [_Item(kind=kind, count=count, since=at) for kind, count in things.items()]

    def stop(self, things: Mapping[str, int], at: datetime) -> None:
        """Stop counting the newest entry of each kind."""
        for kind in things:
            for item in reversed(self._items):
                if item.kind == kind and item.until is None:
                    item.until = at
                    break

    def spent(self, at: datetime) -> float:
        """Return USD until a time."""
        return sum(
            self.prices.cost(i.kind, count=i.count, hours=max(0.0, ((i.until or at) - i.since).total_seconds() / 3600))
            for i in self._items
        )

    def check(self, at: datetime, *, ahead: float = 0.0) -> None:
        """Check the limit.

        Raises:
            BudgetError: If the costs so far, of the next step and of the teardown exceed the limit.
        """
        total = self.spent(at) + ahead + self.reserve
        if total > self.limit:
            raise BudgetError(
                f"{self.spent(at):.2f} USD are spent by the price table and the next step and the teardown may cost "
                f"{ahead + self.reserve:.2f} more, over --max-usd {self.limit:g}; give at least {total:.2f}"
            )
