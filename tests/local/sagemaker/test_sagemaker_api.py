"""The service's front: tags by boto3, rejected requests, and the format of errors.

Errors have the format of the protocol.
"""

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.sagemaker import sagemaker_api

if TYPE_CHECKING:
    from conftest import Plane


def _tags(start: int, end: int) -> list[dict[str, str]]:
    return [{"Key": f"k{number}", "Value": str(number)} for number in range(start, end)]


def test_tags_are_listed_in_pages_and_end_with_their_resource(plane: "Plane") -> None:
    """At most fifty tags; a page has the requested number; tags are deleted with the resource."""
    made = plane.sagemaker.create_model_package_group(ModelPackageGroupName="tagged", Tags=_tags(0, 2))
    arn = made["ModelPackageGroupArn"]
    assert plane.sagemaker.add_tags(ResourceArn=arn, Tags=[*_tags(2, 50), {"Key": "k0", "Value": "new"}])["Tags"]
    pages = list(
        plane.sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn, PaginationConfig={"PageSize": 50})
    )
    found = {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}
    assert (len(found), found["k0"], found["k49"]) == (50, "new", "49")
    with pytest.raises(ClientError, match="a resource has at most 50 tags, got 51"):
        plane.sagemaker.add_tags(ResourceArn=arn, Tags=_tags(50, 51))
    plane.sagemaker.delete_model_package_group(ModelPackageGroupName="tagged")
    with pytest.raises(ClientError, match=r"Could not find resource arn:aws:sagemaker:.*/tagged"):
        plane.sagemaker.list_tags(ResourceArn=arn)


def _answer(path: str, body: bytes, **headers: str) -> tuple[int, dict[str, str], Any]:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    status, answered, content = asyncio.run(sagemaker_api.handle("POST", path, given, body, {}))
    return status, answered, json.loads(content)


def test_fails_on_an_operation_that_is_not_here(plane: "Plane") -> None:
    """Any other operation is rejected by its name."""
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
    """Asynchronous and streaming invocations are rejected by name."""
    _, _, content = _answer("/endpoints/absent/invocations-with-response-stream", b"")
    assert content["Message"].startswith(
        "the embedded SageMaker runtime has InvokeEndpoint and InvokeEndpointAsync only, got /endpoints/absent/"
    )
