"""Monthly price of a stack: a dated table of list prices, and an estimate from a template."""

from mlops_runtime.price.monthly_price import HOURS, MonthlyPrice, PriceLine, monthly_price, price_document, price_lines
from mlops_runtime.price.price_table import PriceError, PriceTable, price_table, priced_regions

__all__ = [
    "HOURS",
    "MonthlyPrice",
    "PriceError",
    "PriceLine",
    "PriceTable",
    "monthly_price",
    "price_document",
    "price_lines",
    "price_table",
    "priced_regions",
]
