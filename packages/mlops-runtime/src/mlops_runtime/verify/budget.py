"""What a verification has spent by the price table, with begun hours rounded up as AWS does, and what the next step may cost."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mlops_runtime.price.price_table import price_table
from mlops_runtime.verify.problems import BudgetError

NETWORK_ENDPOINT, KEY = "interface endpoint", "key"
_HOURS = 730  # of a month, as the price table counts it
WHOLE_HOURS = frozenset({NETWORK_ENDPOINT})  # https://aws.amazon.com/privatelink/pricing/: a begun hour counts whole


@dataclass(frozen=True, slots=True, kw_only=True)
class HourlyPrices:
    """Prices of one region.

    Args:
        region: The region.
        date: When the prices were read, ISO 8601.
        hourly: USD an hour by kind: ``interface endpoint`` in a zone, ``key``, and instance types of endpoints.
    """

    region: str
    date: str
    hourly: Mapping[str, float]

    def hour(self, kind: str) -> float:
        """Return USD an hour for one of a kind.

        Raises:
            KeyError: If the table has no such kind.
        """
        return self.hourly[kind]

    def cost(self, kind: str, *, count: int, hours: float) -> float:
        """Return USD for some of a kind over some hours, by AWS's rounding.

        Example:
            >>> hourly_prices("us-east-1").cost("interface endpoint", count=8, hours=0.2)
            0.08
        """
        billed = math.ceil(hours) if kind in WHOLE_HOURS else hours
        return self.hour(kind) * count * billed


def hourly_prices(region: str) -> HourlyPrices:
    """Return the prices of a region.

    Raises:
        PriceError: If the table has none; names the regions that it has.
    """
    table = price_table(region)
    named = {NETWORK_ENDPOINT: table.usd["interface_endpoint_hour"], KEY: table.usd["key_month"] / _HOURS}
    return HourlyPrices(region=region, date=table.date, hourly={**table.hosting_hour, **named})


@dataclass(slots=True, kw_only=True)
class _Item:
    kind: str
    count: int
    since: datetime
    until: datetime | None = None


class Budget:
    """Counts what exists, since when, at the table's prices.

    Args:
        limit: USD that may be spent.
        prices: The region's prices.
        reserve: USD that the teardown may cost, kept aside.
    """

    def __init__(self, *, limit: float, prices: HourlyPrices, reserve: float = 0.0) -> None:
        self.limit, self.prices, self.reserve = limit, prices, reserve
        self._items: list[_Item] = []

    def start(self, things: Mapping[str, int], at: datetime) -> None:
        """Count some of each kind from now on, whether or not their creation succeeds."""
        self._items += [_Item(kind=kind, count=count, since=at) for kind, count in things.items()]

    def stop(self, things: Mapping[str, int], at: datetime) -> None:
        """Stop to count the newest entry of each kind."""
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
        """Hold the verification to its limit.

        Raises:
            BudgetError: If what is spent, what is ahead and the teardown pass the limit.
        """
        total = self.spent(at) + ahead + self.reserve
        if total > self.limit:
            raise BudgetError(
                f"{self.spent(at):.2f} USD are spent by the price table and the next step and the teardown may cost "
                f"{ahead + self.reserve:.2f} more, over --max-usd {self.limit:g}; give at least {total:.2f}"
            )
