"""The service's front: what is refused, and how an error leaves."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.sagemaker import api

if TYPE_CHECKING:
    from conftest import Plane


def _answer(path: str, body: bytes, **headers: str) -> tuple[int, dict[str, str], Any]:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    status, answered, content = asyncio.run(api.handle("POST", path, given, body, {}))
    return status, answered, json.loads(content)


def test_fails_on_an_operation_that_is_not_here(plane: "Plane") -> None:
    """Any other operation is refused by its name."""
    with pytest.raises(
        ClientError, match="ListNotebookInstances is not an operation of the embedded SageMaker"
    ) as error:
        plane.sagemaker.list_notebook_instances()
    assert error.value.response["Error"]["Code"] == "UnknownOperationException"


@pytest.mark.parametrize(
    ("target", "body", "code", "message"),
    [
        ("DescribeModel", b"{", "SerializationException", "the request is not JSON"),
        ("DescribeModel", b"[]", "ValidationException", "Value '[]' at '' failed to satisfy constraint"),
        ("DescribeModel", b"{}", "ValidationException", "Value 'null' at 'modelName' failed to satisfy constraint"),
        ("DescribeModel", b'{"ModelName": "absent"}', "ValidationException", 'Could not find model "arn:'),
        ("CreateHub", b"{}", "UnknownOperationException", "CreateHub is not an operation of the embedded SageMaker"),
    ],
)
def test_errors_of_the_api_are_json_with_a_type(target: str, body: bytes, code: str, message: str) -> None:
    """The JSON protocol's error: type in body and header, message in lower case.

    Source: https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
    """
    status, headers, content = _answer("/", body, X_Amz_Target=f"SageMaker.{target}")
    assert (status, headers["x-amzn-ErrorType"], content["__type"]) == (400, code, code)
    assert message in content["message"]


def test_errors_of_the_runtime_have_its_own_shape() -> None:
    """The REST protocol's error: type in the header, ``Message`` in the body."""
    status, headers, content = _answer("/endpoints/absent/invocations", b"")
    assert (status, headers["x-amzn-ErrorType"]) == (400, "ValidationError")
    assert content == {"Message": "Endpoint absent of account 000000000000 not found."}


def test_fails_on_other_ways_to_invoke() -> None:
    """Async and streaming invocations are refused by name."""
    _, _, content = _answer("/endpoints/absent/invocations-with-response-stream", b"")
    assert content["Message"].startswith(
        "the embedded SageMaker runtime has InvokeEndpoint and InvokeEndpointAsync only, got /endpoints/absent/"
    )
