"""Asks an endpoint for predictions, wherever it runs, and sends no personal field as it is."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from mlops_runtime.contracts.automation import EndpointEntry
from mlops_runtime.serving.personal import Protector

_SECONDS = 70  # SageMaker gives a container 60 and answers for it


class EndpointError(RuntimeError):
    """The endpoint did not answer, or refused."""


class EndpointClient:
    """A client of one endpoint.

    Fields that the endpoint's stack declares as personal are hashed, or left out, before anything is sent; the key is read once
    from the secret that the endpoint's entry names.

    Args:
        entry: What the endpoint's stack published, the parameter ``/mlops/<unit>/endpoint/<endpoint>``.
        client: Gives a boto3 client by service name.

    Raises:
        PersonalDataError: If the key is no key.

    Example:
        >>> import boto3  # doctest: +SKIP
        >>> entry = from_json(EndpointEntry, boto3.client("ssm").get_parameter(  # doctest: +SKIP
        ...     Name="/mlops/demand/endpoint/demand-forecast")["Parameter"]["Value"])
        >>> EndpointClient(entry, client=boto3.client).predict([{"price": 2.5}], inference_id="week-9-1")  # doctest: +SKIP
        [3.1]
    """

    def __init__(self, entry: EndpointEntry, *, client: Callable[[str], Any]) -> None:
        self._entry, self._client = entry, client
        self._protector = None
        if entry.personal is not None:
            secret = entry.personal.secret_arn
            key = "" if secret is None else client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"]
            self._protector = Protector(entry.personal, key=key.encode())
        self._runtime = None if entry.url is not None else client("sagemaker-runtime")

    def predict(self, rows: Sequence[Mapping[str, object]], *, inference_id: str | None = None) -> list[Any]:
        """Return a prediction a row.

        Args:
            rows: Value by column.
            inference_id: The id by which labels will name this call. Default: only SageMaker's event id names it.

        Raises:
            EndpointError: If there is no answer, or a refusal.
        """
        body = json.dumps({"instances": list(rows)}).encode()
        answer = self.send(body, "application/json", inference_id=inference_id)
        return list(json.loads(answer)["predictions"])

    def send(self, body: bytes, content_type: str, *, inference_id: str | None = None) -> bytes:
        """Send a request body and return the answer's.

        Args:
            body: The request.
            content_type: Its content type.
            inference_id: As for ``predict``.

        Raises:
            EndpointError: As ``predict``.
            PersonalDataError: If personal fields cannot be found in it; nothing is sent then.
        """
        if self._protector is not None:
            body = self._protector.protect_body(body, content_type)
        if self._entry.url is not None:
            return _by_url(self._entry.url, body, content_type, inference_id)
        return self._by_sagemaker(body, content_type, inference_id)

    def _by_sagemaker(self, body: bytes, content_type: str, inference_id: str | None) -> bytes:
        request = {"EndpointName": self._entry.endpoint, "Body": body, "ContentType": content_type}
        if inference_id is not None:
            request["InferenceId"] = inference_id
        assert self._runtime is not None  # noqa: S101 - for the type checker: it has no address of its own
        try:
            answer = self._runtime.invoke_endpoint(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError" and "not found" in str(error):
                raise EndpointError(
                    f"endpoint {self._entry.endpoint!r} serves nothing yet: it is born when the first model is approved; "
                    f"look with mlops status"
                ) from error
            raise
        return bytes(answer["Body"].read())


def _by_url(url: str, body: bytes, content_type: str, inference_id: str | None) -> bytes:
    """Send a request to a service that has an address of its own."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise EndpointError(f"the endpoint's address must be http or https, got {url!r}; deploy its stack again")
    headers = {"Content-Type": content_type}
    if inference_id is not None:
        headers["X-Amzn-SageMaker-Inference-Id"] = inference_id
    request = urllib.request.Request(f"{url.rstrip('/')}/invocations", data=body, headers=headers)  # noqa: S310 - http or https
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - http or https
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        said = " ".join(error.read(1000).decode(errors="replace").split())
        raise EndpointError(f"{url} answers {error.code}: {said}") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise EndpointError(
            f"{url} cannot be reached: {reason}; it answers within its network only, "
            "and on the embedded cloud where `mlops local status --json` says under load_balancing"
        ) from error
