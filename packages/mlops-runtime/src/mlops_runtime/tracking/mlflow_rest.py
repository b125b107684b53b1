"""Client of MLflow's REST API with the standard library; calls of managed MLflow are signed with botocore.

A self-hosted MLflow takes basic authentication with a secret that is read on first use.

See: https://mlflow.org/docs/latest/rest-api.html,
https://mlflow.org/docs/latest/self-hosting/security/basic-http-auth/
"""

import base64
import http.client
import ipaddress
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.tracking.managed_mlflow import SERVICE, managed_app

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_API = "/api/2.0/mlflow/"
_SECONDS = 30
# errors independent of the request itself: missing permissions, timeouts, too many requests
_TRY_LATER = (401, 403, 408, 429)
# MLflow returns an error code for missing resources; without one, the server or path is not MLflow's
_ABSENT = (404, 405)
_REDIRECTS = (301, 302, 303, 307, 308)
_EXISTS = "RESOURCE_ALREADY_EXISTS"
_MISSING = "RESOURCE_DOES_NOT_EXIST"
# limits of one log-batch request
_METRICS, _PARAMS, _TAGS = 1000, 100, 100
_PAGE = 200
_CHUNK = 1024 * 1024  # bytes per read of a file
_NAMES = ("username", "password")


class _PlainReads(urllib.request.HTTPRedirectHandler):
    """Follows redirects of plain reads only: writes would become reads, and signatures would be sent to another host."""

    def redirect_request(self, req: urllib.request.Request, *given: Any) -> urllib.request.Request | None:
        is_plain = req.get_method() == "GET" and not req.has_header("Authorization")
        return super().redirect_request(req, *given) if is_plain else None


_OPENER = urllib.request.build_opener(_PlainReads)


class TrackingAwayError(Exception):
    """MLflow did not respond or denied access; the same request may succeed later."""


class TrackingRefusedError(Exception):
    """MLflow rejected a request; retrying it does not help.

    Args:
        message: MLflow's message.
        code: Its error code.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class PasswordError(Exception):
    """A password cannot be read; the message names the secret and never its value."""


class Metric(NamedTuple):
    """A metric value of a run at a step, with a time in milliseconds."""

    key: str
    value: float
    step: int
    timestamp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """A version of a registered model: its number, the location of its files, and its tags."""

    name: str
    version: str
    source: str
    run_id: str | None
    tags: Mapping[str, str]


class MlflowPassword:
    """User and password of an MLflow client. They never appear in errors or in ``repr``.

    Example:
        >>> MlflowPassword(lambda: ("ann", "pa:ss")).header()
        'Basic YW5uOnBhOnNz'
        >>> MlflowPassword(lambda: ("ann", "pa:ss"))
        MlflowPassword(...)
    """

    def __init__(self, read: Callable[[], tuple[str, str]]) -> None:
        self._read, self._header = read, ""

    @classmethod
    def of_secret(cls, arn: str, *, secrets: "SecretsManagerClient") -> "MlflowPassword":
        """Return the password of a secret: JSON with ``username`` and ``password``, as Secrets Manager writes it."""

        def read() -> tuple[str, str]:
            try:
                found = secrets.get_secret_value(SecretId=arn)
            except (ClientError, BotoCoreError) as error:
                raise PasswordError(f"the password of MLflow, {arn}, cannot be read: {error}") from error
            return _checked(found.get("SecretString", ""), arn)

        return cls(read)

    def header(self) -> str:
        """Return the value of the header ``Authorization``.

        Raises:
            PasswordError: If the secret cannot be read.
        """
        if not self._header:
            user, password = self._read()
            self._header = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        return self._header

    def forget(self) -> None:
        """Read the secret again before the next call, because MLflow rejected this password and it may have been rotated."""
        self._header = ""

    def __repr__(self) -> str:
        return "MlflowPassword(...)"


class MlflowRest:
    """Client of an MLflow server.

    Args:
        uri: ``http://`` or ``https://``, or the ARN of a managed MLflow app or tracking server.
        credentials: Returns the credentials that sign calls of a managed MLflow. Default: none, for other servers.
        password: User and password, for a server that requires them. Default: none.

    Raises:
        ValueError: If the address has another form, or managed MLflow gets no credentials.
    """

    def __init__(
        self,
        uri: str,
        *,
        credentials: Callable[[], Credentials | None] | None = None,
        password: MlflowPassword | None = None,
    ) -> None:
        self._arn, self._credentials, self._headers = managed_app(uri), credentials, dict[str, str]()
        self._password = password
        if self._arn is None:
            parts = urllib.parse.urlsplit(uri)
            if "@" in parts.netloc:  # the message must not contain the password
                raise ValueError("MLflow's address must not contain user and password; pass them separately")
            if parts.scheme not in ("http", "https"):
                raise ValueError(f"MLflow's address must be http://, https:// or the ARN of a managed one, got {uri!r}")
            self._base = uri.rstrip("/")
            return
        region, is_app = self._arn["region"], self._arn["kind"] == "mlflow-app"
        # claim: managed-mlflow-has-its-own-hosts
        self._base = (
            f"https://mlflow.sagemaker.{region}.app.aws" if is_app else f"https://{region}.experiments.sagemaker.aws"
        )
        self._headers = {"x-sm-mlflow-app-arn" if is_app else "x-mlflow-sm-tracking-server-arn": uri}
        if credentials is None:
            raise ValueError(f"calls of {uri} must be signed, but there are no credentials")

    def __str__(self) -> str:
        return self._base

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, creating it if it is missing."""
        with _allowed(_MISSING):
            return str(self.get("experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"])
        with _allowed(_EXISTS):  # created concurrently
            return str(self.post("experiments/create", {"name": name})["experiment_id"])
        return str(self.get("experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"])

    def run(self, experiment: str, tag: str, value: str) -> Mapping[str, Any] | None:
        """Return the run of an experiment that has a tag; None if it is missing."""
        quoted = value.replace("'", "")
        found = self.post(
            "runs/search", {"experiment_ids": [experiment], "filter": f"tags.`{tag}` = '{quoted}'", "max_results": 1}
        )
        runs = found.get("runs", [])
        return dict(runs[0]) if runs else None

    def start_run(self, experiment: str, *, name: str, started: int, tags: Mapping[str, str]) -> str:
        """Create a run and return its id."""
        made = self.post(
            "runs/create", {"experiment_id": experiment, "run_name": name, "start_time": started, "tags": _pairs(tags)}
        )
        return str(made["run"]["info"]["run_id"])

    def log(self, run: str, *, metrics: Sequence[Metric], params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Write metrics, parameters and tags of a run; repeating the call changes nothing."""
        pairs, labels = _pairs(params), _pairs(tags)
        size = max(-(-len(metrics) // _METRICS), -(-len(pairs) // _PARAMS), -(-len(labels) // _TAGS))
        for part in range(size):
            self.post(
                "runs/log-batch",
                {
                    "run_id": run,
                    "metrics": [each._asdict() for each in metrics[part * _METRICS : (part + 1) * _METRICS]],
                    "params": pairs[part * _PARAMS : (part + 1) * _PARAMS],
                    "tags": labels[part * _TAGS : (part + 1) * _TAGS],
                },
            )

    def end_run(self, run: str, *, status: str, ended: int) -> None:
        """End a run."""
        self.post("runs/update", {"run_id": run, "status": status, "end_time": ended})

    def registered_model(self, name: str, *, description: str) -> None:
        """Create a registered model if it is missing."""
        with _allowed(_EXISTS):
            self.post("registered-models/create", {"name": name, "description": description})

    def versions(self, name: str) -> Iterator[ModelVersion]:
        """Yield the versions of a registered model."""
        token = ""
        while True:
            given = {"page_token": token} if token else {}
            found = self.get("model-versions/search", filter=f"name = '{name}'", max_results=str(_PAGE), **given)
            yield from map(_version, found.get("model_versions", []))
            token = found.get("next_page_token", "")
            if not token:
                return

    def make_version(
        self, name: str, *, source: str, run: str | None, tags: Mapping[str, str], description: str
    ) -> ModelVersion:
        """Create a version of a registered model."""
        given = {} if run is None else {"run_id": run}
        made = self.post(
            "model-versions/create",
            {"name": name, "source": source, "tags": _pairs(tags), "description": description, **given},
        )
        return _version(made["model_version"])

    def version(self, name: str, version: str) -> ModelVersion:
        """Return a version by its number."""
        return _version(self.get("model-versions/get", name=name, version=version)["model_version"])

    def version_of_alias(self, name: str, alias: str) -> ModelVersion:
        """Return the version that an alias points to."""
        return _version(self.get("registered-models/alias", name=name, alias=alias)["model_version"])

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias to a version."""
        self.post("registered-models/alias", {"name": name, "alias": alias, "version": version})

    def get(self, path: str, **parameters: str) -> dict[str, Any]:
        """Send a GET request below ``/api/2.0/mlflow/``."""
        query = urllib.parse.urlencode(parameters, quote_via=urllib.parse.quote)
        return self.json("GET", f"{_API}{path}?{query}", None)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a POST request below ``/api/2.0/mlflow/``."""
        return self.json("POST", f"{_API}{path}", json.dumps(body).encode())

    def json(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        """Return the JSON response of a request.

        Raises:
            TrackingAwayError: If the server does not respond with JSON, or denies access.
            TrackingRefusedError: If it rejects the request.
        """
        try:
            found = json.loads(self.content(method, path, body) or b"{}")
        except ValueError as error:
            raise TrackingAwayError(f"{self._base}{path} does not return JSON: is it MLflow?") from error
        return dict(found)

    def content(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Return the response body of a request.

        Raises:
            TrackingAwayError: If the server does not respond, or denies access.
            TrackingRefusedError: If it rejects the request.
        """
        with self._answer(method, path, body) as answer:
            return bytes(answer.read())

    def save(self, path: str, target: Path, *, max_bytes: int) -> None:
        """Download a file by path and query relative to the server's address; a response of more bytes is aborted.

        Raises:
            TrackingAwayError: If the server does not respond, or denies access.
            TrackingRefusedError: If it rejects the request, or sends too many bytes.
        """
        with self._answer("GET", path, None) as answer, target.open("wb") as file:
            while chunk := answer.read(_CHUNK):
                if file.tell() + len(chunk) > max_bytes:
                    raise TrackingRefusedError(
                        f"{self._base} sends more than the remaining {max_bytes} bytes for {path.partition('?')[0]}"
                    )
                file.write(chunk)
            # http.client only reports a truncated body if it is read with a single call
            size, announced = file.tell(), answer.headers.get("Content-Length")
        if announced is not None and size != int(announced):
            raise TrackingAwayError(
                f"{self._base} sent {size} of {announced} bytes of {path.partition('?')[0]}; try again"
            )

    @contextmanager
    def _answer(self, method: str, path: str, body: bytes | None) -> Iterator[Any]:
        headers = {"Content-Type": "application/json", **self._headers}
        if self._password is not None:
            self._check_way()
            try:
                headers["Authorization"] = self._password.header()
            except PasswordError as error:
                raise TrackingAwayError(str(error)) from error
        request = urllib.request.Request(  # noqa: S310 - http or https
            self._base + path, data=body, headers=self._signed(method, path, body, headers), method=method
        )
        try:
            with _OPENER.open(request, timeout=_SECONDS) as answer:
                yield answer
        except urllib.error.HTTPError as error:
            text = error.read(4000).decode(errors="replace")
            message, code = _error_of(text)
            where = path.partition("?")[0]
            if error.code in _REDIRECTS:
                place = urllib.parse.urlsplit(error.headers.get("Location", ""))
                raise TrackingAwayError(
                    f"{self._base} redirects {where} to {place.scheme}://{place.netloc}; use that address"
                ) from error
            if error.code == 401 and self._password is not None:
                self._password.forget()
            if error.code in _ABSENT and not code and where.startswith(_API):
                raise TrackingAwayError(
                    f"{self._base} returned {error.code} for {where}, unlike MLflow: use the address for which "
                    f"the path {where}, appended to it, is MLflow's"
                ) from error
            if error.code >= 500 or error.code in _TRY_LATER:
                raise TrackingAwayError(f"{self._base} returned {error.code} for {where}: {message}") from error
            raise TrackingRefusedError(f"MLflow rejected {where} ({error.code}): {message}", code=code) from error
        except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise TrackingAwayError(f"{self._base} cannot be reached: {reason}") from error

    def _check_way(self) -> None:
        """Check that the password is not sent in clear text. Reported like an unavailable server, so that events are retried.

        Raises:
            TrackingAwayError: If calls are neither encrypted nor local to this machine.
        """
        parts = urllib.parse.urlsplit(self._base)
        if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
            raise TrackingAwayError(
                f"{self._base} would receive the password in clear text; use an https:// address, or no user and password"
            )

    def _signed(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> dict[str, str]:
        # claim: managed-mlflow-is-signed
        if self._arn is None or self._credentials is None:
            return dict(headers)
        found = self._credentials()
        if found is None:
            raise TrackingAwayError(
                "calls of managed MLflow must be signed, but there are no credentials; sign in to AWS"
            )
        signed = AWSRequest(method, self._base + path, data=body, headers=dict(headers))
        SigV4Auth(found, SERVICE, self._arn["region"]).add_auth(signed)
        return dict(signed.headers.items())


@contextmanager
def _allowed(code: str) -> Iterator[None]:
    """Suppress a rejection with an error code."""
    try:
        yield
    except TrackingRefusedError as error:
        if error.code != code:
            raise


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": name, "value": value} for name, value in values.items()]


def _version(found: Mapping[str, Any]) -> ModelVersion:
    return ModelVersion(
        name=str(found["name"]),
        version=str(found["version"]),
        source=str(found.get("source", "")),
        run_id=found.get("run_id") or None,
        tags={str(tag["key"]): str(tag.get("value", "")) for tag in found.get("tags", [])},
    )


def _error_of(text: str) -> tuple[str, str]:
    """Return message and code of an error response."""
    try:
        found = json.loads(text)
        return " ".join(str(found["message"]).split())[:500], str(found.get("error_code", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return " ".join(text.split())[:200], ""


def _checked(text: str, arn: str) -> tuple[str, str]:
    try:
        found: Any = json.loads(text)
        user, password = (found[name] for name in _NAMES)
    except (ValueError, KeyError, TypeError):
        found = user = password = None
    if not isinstance(user, str) or not isinstance(password, str) or not user or ":" in user:
        raise PasswordError(
            f'secret {arn} must be JSON with a username without a colon and a password: {{"username": "...", "password": "..."}}'
        ) from None
    return user, password
