"""Prices of stacks before and after a deployment, for people and for programs."""

from collections.abc import Iterator, Mapping
from typing import Any

from mlops_runtime.price.monthly_price import MonthlyPrice
from mlops_runtime.price.price_table import PriceTable

FORMAT = "mlops.price/1"


def price_lines(
    before: Mapping[str, MonthlyPrice], after: Mapping[str, MonthlyPrice], table: PriceTable
) -> Iterator[str]:
    """Yield what a person reads: each stack by kind of resource, then the total.

    Args:
        before: Price of each deployed stack, by the stack's name.
        after: Price of each stack after the deployment.
        table: Where the prices are from.
    """
    yield f"price a month in {table.region}, USD, list prices of {table.date}; usage (calls, bytes, jobs) comes on top"
    for stack, price in after.items():
        yield f"  {stack}"
        for line in price.lines:
            yield f"    {line.what:<72}{span((line.low, line.high)):>20}{'  while serving' if line.is_serving else ''}"
        for sentence in price.unpriced:
            yield f"    not counted: {sentence}"
        yield f"    {_totals(price, before.get(stack))}"
    if len(after) > 1:
        yield f"  all stacks: {_totals(_merged(after), _merged(before) if before else None)}"


def price_document(
    before: Mapping[str, MonthlyPrice], after: Mapping[str, MonthlyPrice], table: PriceTable
) -> dict[str, Any]:
    """Return what a program reads, as JSON values.

    Args:
        before: Price of each deployed stack, by the stack's name.
        after: Price of each stack after the deployment.
        table: Where the prices are from.
    """
    return {
        "format": FORMAT,
        "region": table.region,
        "date": table.date,
        "currency": "USD",
        "sources": dict(table.sources),
        "stacks": [
            {"stack": stack, "before": _entry(before.get(stack)), "after": _entry(price)}
            for stack, price in after.items()
        ],
        "total": {"before": _sums(_merged(before)), "after": _sums(_merged(after))},
    }


def span(bounds: tuple[float, float]) -> str:
    """Return an interval of USD as text.

    Example:
        >>> span((58.4, 58.4)), span((1.0, 3.0))
        ('58.40', '1.00 to 3.00')
    """
    low, high = bounds
    return f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"


def _totals(price: MonthlyPrice, before: MonthlyPrice | None) -> str:
    texts = [f"idle {span(price.idle)}, serving {span(price.serving)}"]
    if before is not None and (before.idle, before.serving) != (price.idle, price.serving):
        texts.append(f"before: idle {span(before.idle)}, serving {span(before.serving)}")
    return "; ".join(texts)


def _merged(prices: Mapping[str, MonthlyPrice]) -> MonthlyPrice:
    return MonthlyPrice(
        lines=tuple(line for price in prices.values() for line in price.lines),
        unpriced=tuple(sentence for price in prices.values() for sentence in price.unpriced),
    )


def _entry(price: MonthlyPrice | None) -> dict[str, Any] | None:
    if price is None:
        return None
    lines = [
        {"what": x.what, "resources": list(x.resources), "low": x.low, "high": x.high, "is_serving": x.is_serving}
        for x in price.lines
    ]
    return {**_sums(price), "lines": lines, "unpriced": list(price.unpriced)}


def _sums(price: MonthlyPrice) -> dict[str, list[float]]:
    return {"idle": list(price.idle), "serving": list(price.serving)}
