"""A stage serves its deployment."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.gateway.conftest import Api, Front
from tests.local.gateway.test_execution import OK

from mlops_local.cloud import Cloud


def test_a_change_is_served_after_the_next_deployment(front: Front, make_api: Callable[..., Api]) -> None:
    """A new method, another authorization and a deletion take effect with the next deployment only."""
    api = make_api()
    resource = api.method("/x", {"200": {}}, **OK)
    api.deploy()
    api.method("/y", {"200": {}}, **OK)
    where = {"restApiId": api.id, "resourceId": resource, "httpMethod": "POST"}
    front.gateway.update_method(
        **where, patchOperations=[{"op": "replace", "path": "/authorizationType", "value": "AWS_IAM"}]
    )
    assert [api.call(path).status for path in ("/x", "/y")] == [200, 403]
    api.deploy()
    assert [api.call(path).status for path in ("/x", "/y")] == [403, 200]
    front.gateway.delete_method(**where)
    assert api.call("/x", sign="execute-api").status == 200


def test_a_stage_serves_the_model_of_its_deployment(front: Front, make_api: Callable[..., Api]) -> None:
    """A stricter model rejects only after its deployment."""
    api, client = make_api(), front.gateway
    client.create_model(restApiId=api.id, name="Rows", contentType="application/json", schema='{"type": "object"}')
    validator = client.create_request_validator(restApiId=api.id, name="body", validateRequestBody=True)["id"]
    checked = {"requestModels": {"application/json": "Rows"}, "requestValidatorId": validator}
    api.method("/x", {"200": {}}, method=checked, **OK)
    api.deploy()
    patch = [{"op": "replace", "path": "/schema", "value": '{"type": "object", "required": ["rows"]}'}]
    client.update_model(restApiId=api.id, modelName="Rows", patchOperations=patch)
    assert api.call("/x").status == 200
    assert api.deploy().call("/x").status == 400


@pytest.mark.parametrize(
    ("method", "words"), [(None, "doesn't contain any methods"), ({}, "No integration defined for method")]
)
def test_an_api_that_answers_nothing_is_not_deployed(
    front: Front, make_api: Callable[..., Api], method: dict[str, Any] | None, words: str
) -> None:
    """AWS reports which of the two it is."""
    api = make_api()
    if method is not None:
        front.gateway.put_method(restApiId=api.id, resourceId=api.root, httpMethod="GET", authorizationType="NONE")
    with pytest.raises(ClientError, match=words):
        api.deploy()


def test_what_was_deployed_is_served_after_a_restart(own_cloud: Callable[..., Cloud]) -> None:
    """Undeployed changes are still pending."""
    running = own_cloud()
    api = Front(running, running.client("apigateway")).api()
    api.method("/x", {"200": {}}, **OK)
    api.deploy()
    api.method("/y", {"200": {}}, **OK)
    running.down()
    again = own_cloud()
    same = Api(Front(again, again.client("apigateway")), api.id, api.root)
    assert [same.call(path).status for path in ("/x", "/y")] == [200, 403]
    same.deploy()
    assert same.call("/y").status == 200
