"""AWS Price List, as far as ``mlops doctor --prices`` needs it: GetProducts of the usage types in the price table.

The prices come from the package's own table: the embedded cloud shows the request flow, not AWS's current prices.

See: https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html
"""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from ministack import app
from ministack.core import iam_actions, router

from mlops_local.sagemaker.api_shapes import Record, page, serve_operation, validation
from mlops_runtime.price.price_list import rows_of, usage_of
from mlops_runtime.price.price_table import price_table, priced_regions

SERVICE = "pricing"
_TARGET = "AWSPriceListService"


def install() -> None:
    """Register the service."""
    app.SERVICE_HANDLERS[SERVICE] = partial(serve_operation, "GetProducts", SERVICE, "Price List", get_products)
    router.SERVICE_PATTERNS[SERVICE] = {"target_prefixes": [f"{_TARGET}."]}
    iam_actions.SERVICE_TO_IAM_NAMESPACE[SERVICE] = SERVICE
    iam_actions._BOTOCORE_SERVICE_MAP.setdefault(SERVICE, [SERVICE])


def get_products(request: Record) -> Record:
    """GetProducts: a service's products that match every filter, paginated."""
    # claim: price-list-answers-json-texts
    filters = request.get("Filters", [])
    found = [
        json.dumps(product)
        for product in _products(request["ServiceCode"])
        if all(_meets(product["product"]["attributes"], each) for each in filters)
    ]
    return {"FormatVersion": "aws_v1", **page("PriceList", found, request, most=100)}


def _products(service: str) -> Iterator[dict[str, Any]]:
    for region in priced_regions():
        for row, price in rows_of(price_table(region)).items():
            usage = usage_of(row)
            if usage.service == service:
                sku = f"{row}-{region}"
                dimension = {"unit": "Units", "beginRange": "0", "endRange": "Inf"}
                price_each = {"pricePerUnit": {"USD": f"{price / usage.times:.10f}"}}
                yield {
                    "serviceCode": service,
                    "product": {
                        "sku": sku,
                        **({} if usage.family is None else {"productFamily": usage.family}),
                        "attributes": {"regionCode": region, "usagetype": f"{region}-{usage.usage}"},
                    },
                    "terms": {
                        "OnDemand": {f"{sku}.T": {"priceDimensions": {f"{sku}.T.D": {**dimension, **price_each}}}}
                    },
                }


def _meets(attributes: Mapping[str, str], condition: Mapping[str, str]) -> bool:
    kind, value = condition["Type"], condition["Value"]
    found = attributes.get(condition["Field"], "")
    if kind in ("TERM_MATCH", "EQUALS"):
        return found == value
    if kind == "CONTAINS":
        return value in found
    raise validation(f"filters of type {kind} are not supported by the embedded Price List")
