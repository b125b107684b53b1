"""A client of an endpoint, by SageMaker or by its own address."""

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mlops_runtime.contracts.automation import EndpointEntry
from mlops_runtime.contracts.serving import PersonalSpec
from mlops_runtime.serving.endpoint_client import EndpointClient, EndpointError
from mlops_runtime.serving.personal import PersonalDataError

ENTRY = EndpointEntry(
    endpoint="crm-churn", unit="crm", group="crm-churn", rollout_table="t", deploy_machine="m", target="sagemaker"
)
PERSONAL = PersonalSpec(hashed=("household",), withheld=("email",), secret_arn="arn:secret")


class Aws:
    """SageMaker's runtime and Secrets Manager, which keep what they are asked."""

    def __init__(self, error: ClientError | None = None) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._error = error

    def client(self, service: str) -> "Aws":
        """Give itself for the two services."""
        assert service in ("sagemaker-runtime", "secretsmanager")
        return self

    def get_secret_value(self, **arguments: Any) -> dict[str, Any]:
        """Give the key."""
        self.asked.append(("secret", arguments))
        return {"SecretString": "k" * 64}

    def invoke_endpoint(self, **arguments: Any) -> dict[str, Any]:
        """Predict a one."""
        self.asked.append(("invoke", arguments))
        if self._error is not None:
            raise self._error
        return {"Body": io.BytesIO(b'{"predictions": [1.0]}')}


def test_rows_become_predictions() -> None:
    """With the caller's inference id; nothing is hashed where nothing is personal, and no secret is read."""
    aws = Aws()
    assert EndpointClient(ENTRY, client=aws.client).predict([{"price": 2}], inference_id="w1") == [1.0]
    ((_, asked),) = aws.asked
    assert json.loads(asked.pop("Body")) == {"instances": [{"price": 2}]}
    assert asked == {"EndpointName": "crm-churn", "ContentType": "application/json", "InferenceId": "w1"}


def test_personal_fields_do_not_leave_the_client() -> None:
    """The key is read once, whatever is asked."""
    aws = Aws()
    client = EndpointClient(replace(ENTRY, personal=PERSONAL), client=aws.client)
    for _ in range(2):
        client.predict([{"household": "h7", "email": "ann@x.example", "price": 1}])
    assert [name for name, _ in aws.asked] == ["secret", "invoke", "invoke"]
    assert aws.asked[0][1] == {"SecretId": "arn:secret"}
    assert b"h7" not in aws.asked[1][1]["Body"]
    assert b"ann@" not in aws.asked[1][1]["Body"]
    with pytest.raises(PersonalDataError, match="has no names"):
        client.send(b"h7,1", "text/csv")
    assert len(aws.asked) == 3


def test_an_endpoint_that_is_not_there_yet_says_so() -> None:
    """Other refusals of AWS stay what they are."""
    missing = ClientError({"Error": {"Code": "ValidationError", "Message": "Endpoint not found"}}, "InvokeEndpoint")
    with pytest.raises(EndpointError, match="serves nothing yet"):
        EndpointClient(ENTRY, client=Aws(missing).client).predict([{}])
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "InvokeEndpoint")
    with pytest.raises(ClientError):
        EndpointClient(ENTRY, client=Aws(denied).client).predict([{}])


def test_fails_for_an_address_that_is_none() -> None:
    """A file is no service, and nobody listens on port 9."""
    for url, problem in (
        ("file:///etc/passwd", "must be http or https, got 'file:///etc/passwd'"),
        ("http://127.0.0.1:9", "cannot be reached: .*; it answers within its network only"),
    ):
        entry = replace(ENTRY, url=url)
        with pytest.raises(EndpointError, match=problem):
            EndpointClient(entry, client=Aws().client).send(b"1", "text/csv")
