"""InvokeEndpoint by boto3."""

import json
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from conftest import Plane

BUCKET = "plane"


@pytest.fixture(scope="module")
def served(plane: "Plane") -> str:
    """An endpoint without capture."""
    plane.config(plane.model("invoked"))
    plane.endpoint("invoked", "invoked")
    return "invoked"


def test_headers_go_through(plane: "Plane", served: str) -> None:
    """Inference id and custom attributes reach the server, its attributes come back."""
    response = plane.runtime.invoke_endpoint(
        EndpointName=served, ContentType="application/json", Body=b"{}", InferenceId="id-1", CustomAttributes="trace=7"
    )
    assert json.loads(response["Body"].read())["inference_id"] == "id-1"
    assert response["CustomAttributes"] == "trace=7"
    assert response["InvokedProductionVariant"] == "AllTraffic"


@pytest.mark.parametrize(("status", "who"), [(400, "client"), (503, "server")])
def test_model_error_carries_the_servers_answer(plane: "Plane", served: str, status: int, who: str) -> None:
    """A server's error is ModelError 424 with the original status and message and the log group."""
    with pytest.raises(ClientError, match=rf"Received {who} error \({status}\) from primary") as error:
        plane.runtime.invoke_endpoint(
            EndpointName=served, ContentType="application/json", Body=json.dumps({"status": status})
        )
    response = error.value.response
    assert response["Error"]["Code"] == "ModelError"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == status
    assert json.loads(response["OriginalMessage"])["model"] == "invoked"
    assert response["LogStreamArn"].endswith("log-group:/aws/sagemaker/Endpoints/invoked")


def test_fails_on_payloads_over_the_limit(plane: "Plane", served: str) -> None:
    """A request over botocore's bound is refused; a response over it is a ModelError."""
    with pytest.raises(ClientError, match="request of 6291457 bytes is too large; at most 6291456"):
        plane.runtime.invoke_endpoint(EndpointName=served, ContentType="application/json", Body=b" " * 6_291_457)
    with pytest.raises(ClientError, match="response too large"):
        plane.invoke(served, {"size": 6_291_456})


def test_fails_on_a_variant_that_is_not_there(plane: "Plane", served: str) -> None:
    """TargetVariant must be one of the endpoint's."""
    with pytest.raises(ClientError, match="Variant Other not found"):
        plane.invoke(served, TargetVariant="Other")
