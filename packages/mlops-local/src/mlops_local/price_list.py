"""AWS Price List, as far as ``mlops doctor --prices`` needs it: GetProducts of the usage types in the price table.

The prices come from the package's own table: the embedded cloud shows the request flow, not AWS's current prices.

See: https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ministack import app
from ministack.core import iam_actions, router

from mlops_local.sagemaker.api_shapes import Record, ServiceError, serve_operation, validation
from mlops_runtime.price.price_list import rows_of, usage_of
from mlops_runtime.price.price_table import price_table, priced_regions

Response = tuple[int, dict[str, str], bytes]
SERVICE = "pricing"
_TARGET = "AWSPriceListService"
_MOST = 100


def install() -> None:
    """Register the service."""
    app.SERVICE_HANDLERS[SERVICE] = handle
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
    token, size = request.get("NextToken", "0"), request.get("MaxResults", _MOST)
    if not token.isdigit():
        raise ServiceError("InvalidNextTokenException", f"NextToken {token!r} is not one of this service")
    start = int(token)
    rest = {"NextToken": str(start + size)} if start + size < len(found) else {}
    return {"FormatVersion": "aws_v1", "PriceList": found[start : start + size], **rest}


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


async def handle(method: str, path: str, headers: Mapping[str, str], body: bytes | str, query: object) -> Response:
    """Serve a request of the service; MiniStack's handler signature."""
    del method, path, query
    return serve_operation(
        headers, body, operation="GetProducts", service=SERVICE, title="Price List", answer=get_products
    )
