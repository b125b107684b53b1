"""The client on the endpoints page sends no personal field."""

import io
import json
from dataclasses import replace
from typing import Any

import boto3
import pytest
from examples.pages import endpoint_client
from tests.runtime.serving.test_endpoint_client import ENTRY, PERSONAL

from mlops_runtime.contracts import canonical_json


class _Aws:
    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def get_parameter(self, *, Name: str) -> dict[str, Any]:  # noqa: N803
        assert Name == "/mlops/crm/endpoint/crm-churn"
        return {"Parameter": {"Value": canonical_json(replace(ENTRY, personal=PERSONAL)).decode()}}

    def get_secret_value(self, **_: Any) -> dict[str, Any]:
        return {"SecretString": "k" * 64}

    def invoke_endpoint(self, **arguments: Any) -> dict[str, Any]:
        self.sent.append(arguments)
        return {"Body": io.BytesIO(b'{"predictions": [3.1]}')}


def test_a_row_is_sent_without_what_is_personal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The household is hashed and the address omitted; labels match the call by its id."""
    aws = _Aws()
    monkeypatch.setattr(boto3, "client", lambda _: aws)

    assert endpoint_client.predict("/mlops/crm/endpoint/crm-churn") == 3.1

    (sent,) = aws.sent
    (row,) = json.loads(sent["Body"])["instances"]
    assert set(row) == {"household", "price"}
    assert row["household"] != 7
    assert sent["InferenceId"] == "week-9-1"
