"""SageMaker's errors, and requests and responses against botocore's model.

Errors have the service's code, message and status.
"""

from datetime import UTC, datetime
from typing import Any

import pytest

from mlops_local.sagemaker import api_shapes
from mlops_local.sagemaker.api_shapes import ServiceError
from mlops_local.sagemaker.sagemaker_api import OPERATIONS

MODEL: dict[str, Any] = {"ModelName": "m", "ExecutionRoleArn": "arn:aws:iam::000000000000:role/r"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (api_shapes.validation("m"), "ValidationException"),
        (api_shapes.conflict("m"), "ConflictException"),
    ],
)
def test_errors_carry_code_message_and_status(error: ServiceError, code: str) -> None:
    """Client errors of the service are 400 with their message."""
    assert (error.code, error.message, str(error), error.status, error.fields) == (code, "m", "m", 400, {})


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_operation_is_in_the_model_and_wants_its_required_members(name: str) -> None:
    """An empty request names every required member, in the service's camel case."""
    shape = api_shapes.operation(name).input_shape
    required = [] if shape is None else shape.required_members
    if not required:
        assert api_shapes.check_request(name, {}) == {}
        return
    with pytest.raises(ServiceError) as error:
        api_shapes.check_request(name, {})
    for member in required:
        wanted = (
            f"Value 'null' at '{member[0].lower()}{member[1:]}' failed to satisfy constraint: Member must not be null"
        )
        assert wanted in error.value.message
    assert error.value.code == "ValidationException"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"ModelName": "a_b"}, "Value 'a_b' at 'modelName' failed to satisfy constraint: Member must satisfy regular"),
        ({"ModelName": "a" * 64}, "Member must have length less than or equal to 63"),
        (
            {"EnableNetworkIsolation": 1},
            "'enableNetworkIsolation' failed to satisfy constraint: Member must be a boolean",
        ),
        ({"Enviroment": {}}, "unknown member 'Enviroment' at 'request'; allowed are ModelName, PrimaryContainer"),
        ({"PrimaryContainer": {"Mode": "Many"}}, "'primaryContainer.mode'.*enum value set: .SingleModel, MultiModel."),
        ({"Containers": [{"Image": " "}]}, "'containers.1.member.image'.*regular expression pattern"),
        ({"Tags": [{"Key": "\u00e4\u00df \u4e00", "Value": "\u0663"}]}, ""),
        ({"Tags": [{"Key": "a\u2603", "Value": "v"}]}, "'tags.1.member.key'.*regular expression pattern"),
    ],
)
def test_values_outside_of_the_model_are_named(change: dict[str, Any], problem: str) -> None:
    """Types, patterns, lengths, enums and unknown members are checked, with path and reason."""
    if not problem:
        assert api_shapes.check_request("CreateModel", MODEL | change) == MODEL | change
        return
    with pytest.raises(ServiceError, match=problem):
        api_shapes.check_request("CreateModel", MODEL | change)


def test_all_problems_come_at_once() -> None:
    """The message counts and lists them."""
    with pytest.raises(ServiceError, match=r"^2 validation errors detected: .*; ") as error:
        api_shapes.check_request("CreateModel", {"ModelName": "a_b", "EnableNetworkIsolation": "yes"})
    assert error.value.message.count("failed to satisfy constraint") == 2


def test_ranges_of_numbers_are_checked() -> None:
    """A wait of more than an hour is rejected, by botocore's bound."""
    routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 3601}
    guard = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}
    with pytest.raises(ServiceError, match="value less than or equal to 3600"):
        api_shapes.check_request(
            "UpdateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c", "DeploymentConfig": guard}
        )


def test_responses_are_cut_and_checked() -> None:
    """Unknown members and nulls are removed, times become epoch seconds; an invalid response is our own failure."""
    moment = datetime(2017, 8, 1, tzinfo=UTC)
    record = {
        "ModelName": "m",
        "ModelArn": "arn:aws:sagemaker:us-east-1:000000000000:model/m",
        "CreationTime": moment,
        "Private": 1,
        "VpcConfig": None,
    }
    body = api_shapes.check_response("DescribeModel", record)
    assert body == {"ModelName": "m", "ModelArn": record["ModelArn"], "CreationTime": moment.timestamp()}
    with pytest.raises(ServiceError, match=r"bad response of DescribeModel: .*'modelArn'") as error:
        api_shapes.check_response("DescribeModel", {"ModelName": "m", "CreationTime": moment})
    assert (error.value.code, error.value.status) == ("InternalFailure", 500)


def test_text_of_templates_takes_the_types_of_the_model() -> None:
    """CloudFormation's "2" and "true" get the API's types; strings stay strings."""
    given = {
        "ProductionVariants": [{"VariantName": 7, "InitialInstanceCount": "2", "InitialVariantWeight": "0.5"}],
        "DataCaptureConfig": {"EnableCapture": "true", "InitialSamplingPercentage": "100"},
    }
    shape = api_shapes.operation("CreateEndpointConfig").input_shape
    assert api_shapes.from_text(shape, given) == {
        "ProductionVariants": [{"VariantName": "7", "InitialInstanceCount": 2, "InitialVariantWeight": 0.5}],
        "DataCaptureConfig": {"EnableCapture": True, "InitialSamplingPercentage": 100},
    }
