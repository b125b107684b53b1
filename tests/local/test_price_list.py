"""AWS Price List of the embedded cloud."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud


def test_products_are_json_texts(cloud: Cloud) -> None:
    """By service and filters, page by page, in the API's documented format."""
    client = cloud.client("pricing")
    filters = [
        {"Type": "TERM_MATCH", "Field": "regionCode", "Value": "us-east-1"},
        {"Type": "CONTAINS", "Field": "usagetype", "Value": "Host:ml.m5"},
    ]
    pages = client.get_paginator("get_products").paginate(
        ServiceCode="AmazonSageMaker", Filters=filters, PaginationConfig={"PageSize": 1}
    )
    found = [json.loads(text) for page in pages for text in page["PriceList"]]
    assert len(found) > 1
    assert {each["product"]["attributes"]["regionCode"] for each in found} == {"us-east-1"}
    (term,) = found[0]["terms"]["OnDemand"].values()
    (dimension,) = term["priceDimensions"].values()
    assert set(dimension) >= {"unit", "beginRange", "endRange", "pricePerUnit"}
    assert float(dimension["pricePerUnit"]["USD"]) > 0


def test_fails_on_what_is_not_here(cloud: Cloud) -> None:
    """Other operations and filters are rejected by name, as is an unknown token."""
    client = cloud.client("pricing")
    with pytest.raises(ClientError, match="DescribeServices is not an operation of the embedded Price List"):
        client.describe_services()
    with pytest.raises(ClientError, match="filters of type ANY_OF are not supported"):
        client.get_products(
            ServiceCode="AmazonVPC", Filters=[{"Type": "ANY_OF", "Field": "regionCode", "Value": "us-east-1"}]
        )
    with pytest.raises(ClientError, match="NextToken 'x' is not one of this service"):
        client.get_products(ServiceCode="AmazonVPC", NextToken="x")
