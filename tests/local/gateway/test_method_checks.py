"""Integrations and responses that AWS rejects."""

from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError
from tests.local.gateway.conftest import Api, Front

from mlops_local.gateway.method_checks import integration_problem, response_problem

MAPPED = {"responseParameters": {"method.response.header.X-A": "'a'"}}


def test_an_undeclared_response_is_refused(make_api: Callable[..., Api], front: Front) -> None:
    """An undeclared status or header."""
    assert "No method response exists" in (response_problem({"methodResponses": {}}, "200", {}) or "")
    assert "method.response.header.X-A" in (response_problem({"methodResponses": {"200": {}}}, "200", MAPPED) or "")
    declared = {"200": {"responseParameters": {"method.response.header.X-A": False}}}
    assert response_problem({"methodResponses": declared}, "200", MAPPED) is None
    api = make_api()
    resource = api.method("/x", {}, type="MOCK")
    with pytest.raises(ClientError, match="Invalid mapping expression specified"):
        front.gateway.put_integration_response(
            restApiId=api.id, resourceId=resource, httpMethod="POST", statusCode="200"
        )


def test_functions_and_queues_need_no_role_of_ours() -> None:
    """MiniStack handles them."""
    for service in ("lambda:path/2015-03-31/functions/arn/invocations", "sqs:path/000000000000/queue"):
        assert integration_problem({"type": "AWS", "uri": f"arn:aws:apigateway:us-east-1:{service}"}) is None
    assert integration_problem({"type": "MOCK"}) is None
    assert "by path" in (
        integration_problem({"type": "AWS", "uri": "arn:aws:apigateway:us-east-1:s3:action/GetObject"}) or ""
    )
