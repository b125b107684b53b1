"""What a verification has spent by the price table, and whether the next step may begin."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mlops_runtime.verify.hourly_price import HourlyPrices
from mlops_runtime.verify.problems import BudgetError


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
        """Count some of each kind from now on, whether or not their creation succeeds.

        Args:
            things: How many of each kind.
            at: The time in the cloud.
        """
        self._items += [_Item(kind=kind, count=count, since=at) for kind, count in things.items()]

    def stop(self, things: Mapping[str, int], at: datetime) -> None:
        """Stop to count the newest entry of each kind.

        Args:
            things: Kinds that were started.
            at: The time in the cloud.
        """
        for kind in things:
            for item in reversed(self._items):
                if item.kind == kind and item.until is None:
                    item.until = at
                    break

    def spent(self, at: datetime) -> float:
        """Return USD until a time.

        Args:
            at: The time in the cloud.
        """
        return sum(
            self.prices.cost(i.kind, count=i.count, hours=max(0.0, ((i.until or at) - i.since).total_seconds() / 3600))
            for i in self._items
        )

    def check(self, at: datetime, *, ahead: float = 0.0) -> None:
        """Hold the verification to its limit.

        Args:
            at: The time in the cloud.
            ahead: USD that the next step may cost.

        Raises:
            BudgetError: If what is spent, what is ahead and the teardown pass the limit.
        """
        total = self.spent(at) + ahead + self.reserve
        if total > self.limit:
            raise BudgetError(
                f"{self.spent(at):.2f} USD are spent by the price table and the next step and the teardown may cost "
                f"{ahead + self.reserve:.2f} more, over --max-usd {self.limit:g}; give at least {total:.2f}"
            )
