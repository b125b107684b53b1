"""Client of an endpoint. It hashes personal fields with a key, or removes them, before sending."""

import hashlib
import hmac
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from mlops_runtime.contracts.serving import PersonalSpec
from mlops_runtime.contracts.unit_entries import EndpointEntry
from mlops_runtime.serving.field_names import is_readable, resembles

_SEPARATOR = "\x1f"

_SECONDS = 70  # SageMaker allows a container 60 s and then responds itself


class PersonalDataError(ValueError):
    """A request cannot be protected, so it is not sent."""


class Protector:
    """Protects requests to one endpoint.

    Args:
        spec: The hashed and the withheld fields.
        key: Key of the hash, at least 16 bytes; not needed without hashed fields.

    Raises:
        PersonalDataError: If there are hashed fields and the key is too short.

    Example:
        >>> protector = Protector(PersonalSpec(hashed=("household",), withheld=("email",)), key=b"0" * 32)
        >>> row = protector.protect({"household": 7, "email": "a@b.example", "price": 2.5})
        >>> len(row["household"]), sorted(row)
        (64, ['household', 'price'])
    """

    def __init__(self, spec: PersonalSpec, *, key: bytes = b"") -> None:
        if spec.hashed and len(key) < 16:
            raise PersonalDataError(
                f"the key of the hash must have at least 16 bytes, got {len(key)}; deploy the stack again, which creates one"
            )
        self._spec, self._key = spec, key

    def protect(self, row: Mapping[str, Any]) -> dict[str, object]:
        """Return a row that may be sent: equal values of a field give equal hashes, a null stays null.

        Equal numbers have equal hashes: 7 and 7.0 are the same household.

        Args:
            row: Value by field.

        Raises:
            PersonalDataError: If a field's name resembles a personal one or is not ASCII, and the endpoint does not declare it as
                plain; or if a field is an object or a list, whose contents are not checked.
        """
        withheld = self._spec.withheld
        problems = [*self._hidden(row)]
        if problems:
            raise PersonalDataError("; ".join(problems))
        return {
            name: self._hash(name, value) if name in self._spec.hashed else value
            for name, value in row.items()
            if name not in withheld
        }

    def protect_body(self, body: bytes, content_type: str) -> bytes:
        """Return a request body that may be sent.

        Args:
            body: JSON with ``instances``, each an object.

        Raises:
            PersonalDataError: If its fields have no names (CSV, arrays, or not JSON), or as in `protect`.
        """
        names = ", ".join((*self._spec.hashed, *self._spec.withheld))
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise PersonalDataError(
                f"fields {names} of this endpoint are personal, and {content_type} has no names to identify them; send "
                'application/json, {"instances": [{"name": value}]}'
            )
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise PersonalDataError(f"the request is not JSON, so personal fields cannot be found: {error}") from error
        rows = document.get("instances") if isinstance(document, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise PersonalDataError(
                f"fields {names} of this endpoint are personal, and can only be identified in objects; send "
                '{"instances": [{"name": value}]}'
            )
        if set(document) != {"instances"}:
            others = ", ".join(sorted(map(repr, set(document) - {"instances"})))
            raise PersonalDataError(f"a request with personal fields must have only instances, got {others}")
        return json.dumps({"instances": [self.protect(row) for row in rows]}).encode()

    def _hidden(self, row: Mapping[str, Any]) -> Iterator[str]:
        personal = (*self._spec.hashed, *self._spec.withheld)
        for name, value in row.items():
            if name in personal:
                continue
            known = next((each for each in personal if resembles(name, each)), None)
            if name not in self._spec.plain and known is not None:
                yield (
                    f"field {name!r} resembles {known!r}, which is personal, and would be sent unchanged; write {known!r}, or "
                    "declare it as plain: PersonalData(plain=...)"
                )
            elif name not in self._spec.plain and not is_readable(name):
                yield (
                    f"field {name!a} must be printable ASCII because fields are personal ({', '.join(personal)}) and other "
                    "letters can look alike; rename it, or declare it as plain: PersonalData(plain=...)"
                )
            elif isinstance(value, Mapping | list | tuple):
                kind = "an object" if isinstance(value, Mapping) else "a list"
                yield (
                    f"field {name!r} must be one value because fields are personal ({', '.join(personal)}), got {kind}, "
                    "whose contents are not checked; send its parts as separate fields"
                )

    def _hash(self, name: str, value: Any) -> str | None:
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        return hmac.new(self._key, f"{name}{_SEPARATOR}{text}".encode(), hashlib.sha256).hexdigest()


class EndpointError(RuntimeError):
    """The endpoint did not respond, or rejected the request.

    Args:
        message: Description of the error.
        status: HTTP status of the response. Default: there was no response.
        model_message: The model's own message. Default: the message.
    """

    def __init__(self, message: str, *, status: str | None = None, model_message: str | None = None) -> None:
        super().__init__(message)
        self.status, self.model_message = status, message if model_message is None else model_message


class EndpointClient:
    """A client of one endpoint.

    Fields that the endpoint's stack declares as personal are hashed or removed before sending. The key is read once, from the
    secret in the endpoint's entry.

    Args:
        entry: Entry that the endpoint's stack published in the parameter ``/mlops/<unit>/endpoint/<endpoint>``.
        client: Returns a boto3 client for a service name.

    Raises:
        PersonalDataError: If the key is invalid.

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
        """Return one prediction per row.

        Args:
            rows: Value by column.
            inference_id: Id by which labels refer to this call. Default: only SageMaker's event id identifies it.

        Raises:
            EndpointError: If the endpoint does not respond, or rejects the request.
        """
        body = json.dumps({"instances": list(rows)}).encode()
        answer = self.send(body, "application/json", inference_id=inference_id)
        return list(json.loads(answer)["predictions"])

    def send(self, body: bytes, content_type: str, *, inference_id: str | None = None) -> bytes:
        """Send a request body and return the response body.

        Args:
            body: The request body.
            inference_id: As for ``predict``.

        Raises:
            EndpointError: As for ``predict``.
            PersonalDataError: If personal fields cannot be identified in it; nothing is sent then.
        """
        if self._protector is not None:
            body = self._protector.protect_body(body, content_type)
        return self.send_protected(body, content_type, inference_id=inference_id)

    def protect(self, row: Mapping[str, object]) -> Mapping[str, object]:
        """Return a row that may be sent, with personal fields hashed or removed.

        Args:
            row: Value by column.

        Raises:
            PersonalDataError: If personal fields cannot be identified in it.
        """
        return row if self._protector is None else self._protector.protect(row)

    def send_protected(self, body: bytes, content_type: str, *, inference_id: str | None = None) -> bytes:
        """Send a request body made of rows that `protect` returned, and return the response body.

        Args:
            body: The request body.
            inference_id: As for ``predict``.

        Raises:
            EndpointError: As for ``predict``.
        """
        if self._entry.url is not None:
            return _by_url(self._entry.url, body, content_type, inference_id)
        return self._by_sagemaker(body, content_type, inference_id)

    def _by_sagemaker(self, body: bytes, content_type: str, inference_id: str | None) -> bytes:
        request = {"EndpointName": self._entry.endpoint, "Body": body, "ContentType": content_type}
        if inference_id is not None:
            request["InferenceId"] = inference_id
        assert self._runtime is not None  # noqa: S101 - set if the entry has no URL
        try:
            answer = self._runtime.invoke_endpoint(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError" and "not found" in str(error):
                raise EndpointError(
                    f"endpoint {self._entry.endpoint!r} serves nothing yet: it is created when the first model is approved; "
                    f"check with mlops status"
                ) from error
            if error.response["Error"]["Code"] == "ModelError" and "OriginalStatusCode" in error.response:
                response: Mapping[str, Any] = error.response  # the stubs lack the fields of this error
                status, message = str(response["OriginalStatusCode"]), str(response.get("OriginalMessage", ""))
                raise _refused(self._entry.endpoint, status, message) from error
            raise
        return bytes(answer["Body"].read())


def _refused(endpoint: str, status: str, answer: str) -> EndpointError:
    """Return the error for a model's response; the platform's server reports errors in JSON fields."""
    try:
        document = json.loads(answer)
    except ValueError:
        document = None
    given = document if isinstance(document, dict) else {}
    own, problems = given.get("error"), given.get("problems")
    if isinstance(problems, list) and problems:
        answer = "; ".join(map(str, problems))
    elif isinstance(own, str):
        answer = own
    message = " ".join(answer.split())
    return EndpointError(f"the model of {endpoint} returned {status}: {message}", status=status, model_message=message)


def _by_url(url: str, body: bytes, content_type: str, inference_id: str | None) -> bytes:
    """Send a request to the URL of a service on EKS."""
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
        raise _refused(url, str(error.code), error.read(1000).decode(errors="replace")) from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise EndpointError(
            f"{url} cannot be reached: {reason}; it is only reachable within its network, or in the embedded cloud at the "
            "address that `mlops local status --json` prints under load_balancing"
        ) from error
