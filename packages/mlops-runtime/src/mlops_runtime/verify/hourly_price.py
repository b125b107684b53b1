"""What one of a kind costs an hour, out of the package's price table, with AWS's rounding of begun hours."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mlops_runtime.price.price_table import price_table

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

        Args:
            kind: The kind.

        Raises:
            KeyError: If the table has no such kind.
        """
        return self.hourly[kind]

    def cost(self, kind: str, *, count: int, hours: float) -> float:
        """Return USD for some of a kind over some hours, by AWS's rounding.

        Args:
            kind: The kind.
            count: How many.
            hours: How long, in hours.

        Example:
            >>> hourly_prices("us-east-1").cost("interface endpoint", count=8, hours=0.2)
            0.08
        """
        billed = math.ceil(hours) if kind in WHOLE_HOURS else hours
        return self.hour(kind) * count * billed


def hourly_prices(region: str) -> HourlyPrices:
    """Return the prices of a region.

    Args:
        region: The region.

    Raises:
        PriceError: If the table has none; names the regions that it has.
    """
    table = price_table(region)
    named = {NETWORK_ENDPOINT: table.usd["interface_endpoint_hour"], KEY: table.usd["key_month"] / _HOURS}
    return HourlyPrices(region=region, date=table.date, hourly={**table.hosting_hour, **named})
