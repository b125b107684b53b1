"""Client for a cluster's Kubernetes API with the standard library: get, server-side apply, scale, delete, and bearer tokens."""

import base64
import http.client
import json
import logging
import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.signers import RequestSigner

from mlops_runtime.eks.kubernetes_objects import FIELD_MANAGER, Manifest, Ref, path, ref

if TYPE_CHECKING:
    import boto3

# conflict with "kubectl-edit" with subresource "scale" using apps/v1: .spec.replicas
# https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts
_MANAGER = re.compile(r'conflict with "([^"]*)"')
_MAX_TEXT = 500
# https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-field-management.html
_ADD_ON = (
    "; 'eks' is an EKS add-on, which sets the value from its configuration: aws eks update-addon --configuration-values (for "
    "network policies, enableNetworkPolicy of vpc-cni)"
)

PREFIX = "k8s-aws-v1."
CLUSTER_HEADER = "x-k8s-aws-id"
_REAL = Config(ignore_configured_endpoint_urls=True)  # type: ignore[call-arg]  # missing in the stubs
_EXPIRES_SECONDS = 60  # of the signed URL; the authenticator accepts it for 15 minutes after the signature

_log = logging.getLogger(__name__)
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_TIMEOUT_SECONDS = 15.0
_MAX_ANSWER = 8 * 1024 * 1024
_RETRIED = (429, 500, 502, 503, 504)
_ATTEMPTS = 6
_UNANSWERED = 3  # attempts if the cluster does not respond, since each may take the whole timeout
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0


class ClusterError(RuntimeError):
    """A request to a cluster failed.

    Args:
        message: The cluster's message and the fix.
        what: The request, such as ``apply Deployment demand/forecast-blue``.
        status: HTTP status code; 0 without a response.
        reason: Kubernetes' reason, such as ``Forbidden``; empty if absent.
    """

    def __init__(self, message: str, *, what: str, status: int = 0, reason: str = "") -> None:
        super().__init__(f"{what}: {message}")
        self.what, self.status, self.reason = what, status, reason


@dataclass(frozen=True, slots=True)
class Conflict:
    """A field that another field manager owns with another value."""

    field: str
    manager: str


class ConflictError(ClusterError):
    """Fields of a manifest have another field manager and other values; nothing was changed.

    Args:
        conflicts: Each field and its manager.
        what: The request.
    """

    def __init__(self, conflicts: Sequence[Conflict], *, what: str) -> None:
        self.conflicts = tuple(conflicts)
        fields = ", ".join(f"{c.field} is managed by {c.manager!r}" for c in conflicts)
        managers = " and ".join(sorted({repr(c.manager) for c in conflicts}))
        super().__init__(
            f"{fields}; remove the field from the configuration of {managers}, then retry: {FIELD_MANAGER!r} does not force "
            f"conflicts{_ADD_ON if any(c.manager == 'eks' for c in conflicts) else ''}",
            what=what,
            status=409,
            reason="Conflict",
        )


def read_error(status: int, body: bytes, *, what: str) -> ClusterError:
    """Return the error for an error response of the API.

    See: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/

    Args:
        status: HTTP status code.
        body: The response: a ``Status``, or anything if a proxy responded.
        what: The request.
    """
    reported = _status(body)
    reason, message = str(reported.get("reason", "")), str(reported.get("message", ""))[:_MAX_TEXT]
    details = reported.get("details")
    causes = details.get("causes") if isinstance(details, Mapping) else None
    conflicts = [
        Conflict(str(cause.get("field", "?")), _manager(str(cause.get("message", ""))))
        for cause in (causes if isinstance(causes, list) else [])
        if isinstance(cause, Mapping) and cause.get("reason") == "FieldManagerConflict"
    ]
    if status == 409 and conflicts:
        return ConflictError(conflicts, what=what)
    text = message or body[:_MAX_TEXT].decode(errors="replace") or "no text"
    return ClusterError(f"{text} (HTTP {status}){_fix(status, text)}", what=what, status=status, reason=reason)


def retry_after(body: bytes, header: str | None) -> float | None:
    """Return the delay in seconds from the ``Retry-After`` header or the ``Status``; ``None`` without one."""
    details = _status(body).get("details")
    seconds = details.get("retryAfterSeconds") if isinstance(details, Mapping) else None
    for value in (header, seconds):
        if isinstance(value, int | str) and str(value).isdecimal():
            return float(value)
    return None


def _status(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _manager(message: str) -> str:
    found = _MANAGER.search(message)
    return "?" if found is None else found[1]


def _fix(status: int, message: str) -> str:
    if status == 401:
        return "; the cluster has no access entry for this role: create one"
    if status == 403 and "exceeded quota" in message:
        return "; raise the tenant's quota, or reduce the requested resources"
    if status == 403:
        return "; apply the tenant's Role and RoleBinding, and add the applier's group to this role's access entry"
    if status == 404:
        return "; apply the tenant's manifests first, and check that the cluster has this kind"
    return ""


def unreachable(cause: bytes, url: str, what: str) -> ClusterError:
    """Return the error for a cluster that does not respond."""
    return ClusterError(
        f"no response from {url}: {cause.decode(errors='replace')}; the private endpoint can only be reached from the cluster's "
        "network, with a security group that the cluster allows on port 443",
        what=what,
    )


class TokenError(RuntimeError):
    """A token cannot be signed."""


class BearerToken:
    """Creates tokens for one cluster, each valid for 15 minutes.

    Args:
        session: Session with the credentials that sign.
        cluster: Name of the cluster, which is signed, so that other clusters reject the token.

    Example:
        >>> BearerToken(boto3.Session(), "serving")()[:11]  # doctest: +SKIP
        'k8s-aws-v1.'
    """

    def __init__(self, session: "boto3.Session", cluster: str) -> None:
        self._session, self._cluster = session, cluster

    def __call__(self) -> str:
        """Return a new token.

        Raises:
            TokenError: If the session has no credentials or no Region.
        """
        credentials, region = self._session.get_credentials(), self._session.region_name
        if credentials is None or region is None:
            missing = "credentials" if credentials is None else "a Region"
            raise TokenError(
                f"a token for cluster {self._cluster!r} needs a session with {missing}, got one without; configure it"
            )
        # the cluster calls the real STS of its Region, regardless of this process's endpoint configuration
        client = self._session.client("sts", region_name=region, config=_REAL)
        signer = RequestSigner(
            client.meta.service_model.service_id, region, "sts", "v4", credentials, self._session.events
        )
        request = {
            "method": "GET",
            "url": f"{client.meta.endpoint_url}/?Action=GetCallerIdentity&Version=2011-06-15",
            "body": {},
            "headers": {CLUSTER_HEADER: self._cluster},
            "context": {},
        }
        url = signer.generate_presigned_url(request, region_name=region, expires_in=_EXPIRES_SECONDS, operation_name="")
        return PREFIX + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Address of a cluster's API: ``https`` with the cluster's certificate authority; ``http`` only on the loopback interface.

    Args:
        url: Endpoint from DescribeCluster.
        authority: The cluster's certificate authority, in PEM format. Default: the system's authorities.

    Raises:
        ClusterError: If the URL has another form.
    """

    url: str
    authority: str | None = None

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            is_whole = bool(parts.hostname) and parts.port != 0
        except ValueError:  # invalid port, or invalid address in brackets
            is_whole = False
        if not is_whole or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)):
            raise ClusterError(
                f"the endpoint of a cluster must be https (or http on {', '.join(_LOOPBACK)}), got {self.url!r}",
                what="connect",
            )

    def connection(self) -> http.client.HTTPConnection:
        """Return an unopened connection."""
        parts = urlsplit(self.url)
        host = str(parts.hostname)
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=_TIMEOUT_SECONDS)
        try:
            context = ssl.create_default_context(cadata=self.authority)
        except ssl.SSLError as error:
            raise ClusterError(
                f"the certificate authority of {self.url} cannot be read: {error.reason}", what="connect"
            ) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # set by default from Python 3.13 on, but a cluster's own authority has no key identifier, as RFC 5280 allows; chain, name
        # and date are still verified: https://github.com/kubernetes-client/python/issues/2394
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return http.client.HTTPSConnection(host, parts.port, timeout=_TIMEOUT_SECONDS, context=context)


class Cluster:
    """Client of one cluster, with the identity of the session.

    Args:
        address: Address of its API.
        is_auto_mode: Whether it runs EKS Auto Mode. Default: unknown.
        token: Returns a bearer token; called again if the cluster rejects the last one.
        sleep: Called with the seconds between attempts. Default: ``time.sleep``.

    Example:
        >>> cluster = Cluster.connect(boto3.Session(), "serving")  # doctest: +SKIP
        >>> cluster.get(deployment_ref(namespace="demand", endpoint="forecast", slot="blue"))  # doctest: +SKIP
    """

    def __init__(
        self,
        address: Address,
        *,
        token: Callable[[], str],
        sleep: Callable[[float], None] = time.sleep,
        is_auto_mode: bool | None = None,
    ) -> None:
        self._address, self._token, self._sleep = address, token, sleep
        self.is_auto_mode = is_auto_mode
        self._bearer: str | None = None

    @classmethod
    def connect(cls, session: "boto3.Session", name: str) -> "Cluster":
        """Return the client of a cluster by name; requires ``eks:DescribeCluster``.

        Raises:
            ClusterError: If the cluster is missing, has no endpoint yet, or its private endpoint is off.
        """
        described = describe(session, name)
        is_auto_mode = bool((described.get("computeConfig") or {}).get("enabled"))
        return cls(address(described, name), token=BearerToken(session, name), is_auto_mode=is_auto_mode)

    def get(self, reference: Ref) -> Manifest | None:
        """Return an object, or ``None`` if it does not exist.

        Raises:
            ClusterError: If the request fails.
        """
        return self._send("GET", path(reference, is_read=True), reference, absent=True)

    def serves(self, group_version: str) -> bool:
        """Return whether the cluster serves an API group, such as ``metrics.k8s.io/v1beta1``.

        Raises:
            ClusterError: If the request fails.
        """
        reference = Ref(api_version=group_version, kind="APIGroup", name=group_version)
        try:
            self._send("GET", f"/apis/{group_version}", reference)
        except ClusterError as error:
            # 503: the group is registered, and its server does not respond
            # https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/
            if error.status in (404, 503):
                return False
            raise
        return True

    def apply(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Manifest:
        """Apply a manifest server-side, and return the resulting object.

        Args:
            manifest: All managed fields of the object; ownership of fields that are no longer included is given up.
            dry_run: Whether to return the result without changing the cluster. Default: False.

        Raises:
            ConflictError: If another field manager owns a field with another value.
            ClusterError: If the cluster refuses it.
        """
        reference = ref(manifest)
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "force": "false"}
        if dry_run:
            query["dryRun"] = "All"
        return self._expect("PATCH", path(reference), reference, query=query, body=manifest, kind="apply-patch+yaml")

    def scale(self, deployment: Ref, replicas: int) -> None:
        """Set the replicas of a Deployment with the scale subresource, which takes over the field's ownership.

        Raises:
            ClusterError: If the cluster refuses it, or the Deployment does not exist.
        """
        self._expect(
            "PATCH",
            f"{path(deployment)}/scale",
            deployment,
            query={"fieldManager": FIELD_MANAGER},
            body={"spec": {"replicas": replicas}},
            kind="merge-patch+json",
        )

    def delete(self, reference: Ref, *, uid: str | None = None) -> bool:
        """Delete an object; return whether the object existed.

        Args:
            reference: The object.
            uid: Its UID, so that a new object with the same name is not deleted. Default: any object with the name.

        Raises:
            ClusterError: If the cluster refuses it.
        """
        options: dict[str, object] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        return self._send("DELETE", path(reference), reference, body=options, kind="json", absent=True) is not None

    def _expect(self, verb: str, target: str, reference: Ref, **options: Any) -> Manifest:
        answer = self._send(verb, target, reference, **options)
        if answer is None:  # _send returns None only if absence is allowed
            raise ClusterError("the cluster returned no object", what=_what(verb, reference, options.get("query")))
        return answer

    def _send(
        self,
        verb: str,
        target: str,
        reference: Ref,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        kind: str = "json",
        absent: bool = False,
    ) -> Manifest | None:
        what = _what(verb, reference, query)
        sent = None if body is None else json.dumps(body, sort_keys=True, allow_nan=False).encode()
        where = target if not query else f"{target}?{urlencode(query)}"
        for attempt in range(1, _ATTEMPTS + 1):
            status, answer, wait = self._once(verb, where, sent, f"application/{kind}", what)
            if 200 <= status < 300:
                return _document(answer, what)
            if status == 404 and absent and _is_absent(answer):
                return None
            if status == 401 and self._bearer is not None and attempt == 1:
                self._bearer = None  # expired: sign again
                continue
            error = read_error(status, answer, what=what) if status else unreachable(answer, self._address.url, what)
            if not _is_passing(error, verb) or attempt == (_ATTEMPTS if status else _UNANSWERED):
                raise error
            pause = min(_LONGEST_WAIT, wait if wait is not None else _FIRST_WAIT * 2 ** (attempt - 1))
            _log.warning("attempt %d of %d: %s; retrying in %.1f s", attempt, _ATTEMPTS, error, pause)
            self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, verb: str, where: str, sent: bytes | None, kind: str, what: str) -> tuple[int, bytes, float | None]:
        self._bearer = self._bearer or self._token()
        headers = {"Accept": "application/json", "Authorization": f"Bearer {self._bearer}", "User-Agent": FIELD_MANAGER}
        if sent is not None:
            headers["Content-Type"] = kind
        connection = self._address.connection()
        try:
            connection.request(verb, where, body=sent, headers=headers)
            response = connection.getresponse()
            answer = response.read(_MAX_ANSWER + 1)
        except ssl.SSLCertVerificationError as error:
            raise ClusterError(
                f"the certificate of {self._address.url} is not this cluster's: {error.verify_message}", what=what
            ) from error
        except (OSError, http.client.HTTPException) as error:
            return 0, f"{type(error).__name__}: {error}".encode(), None
        finally:
            connection.close()
        if len(answer) > _MAX_ANSWER:
            raise ClusterError(f"the cluster returned more than {_MAX_ANSWER} bytes", what=what, status=response.status)
        return response.status, answer, retry_after(answer, response.getheader("Retry-After"))


def describe(session: "boto3.Session", name: str) -> Mapping[str, Any]:
    """Return EKS's description of a cluster.

    Raises:
        ClusterError: If the cluster does not exist.
    """
    try:
        found: Mapping[str, Any] = session.client("eks").describe_cluster(name=name)["cluster"]
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code != "ResourceNotFoundException":
            raise
        raise ClusterError(
            "the cluster does not exist in this account and Region; name an existing one", what=_connecting(name)
        ) from error
    return found


def address(described: Mapping[str, Any], name: str) -> Address:
    """Return the address of a cluster's API, for a function in the cluster's network.

    Raises:
        ClusterError: If the cluster has no endpoint yet, or its private endpoint is disabled, which is EKS's default: a function
            without internet access would time out. See https://docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html.
    """
    endpoint, authority = described.get("endpoint"), described.get("certificateAuthority", {}).get("data")
    if not endpoint:
        problem = f"it has no endpoint, status {described.get('status')!r}; wait until it is ACTIVE"
        raise ClusterError(problem, what=_connecting(name))
    if described.get("resourcesVpcConfig", {}).get("endpointPrivateAccess") is False:
        raise ClusterError(
            "its private endpoint is disabled (endpointPrivateAccess is false, EKS's default), but functions call it from inside "
            f"the network; enable it with: aws eks update-cluster-config --name {name} --resources-vpc-config "
            "endpointPrivateAccess=true",
            what=_connecting(name),
        )
    return Address(url=endpoint, authority=None if not authority else base64.b64decode(authority).decode())


def _connecting(name: str) -> str:
    return f"connect to cluster {name!r}"


def _what(verb: str, reference: Ref, query: Mapping[str, str] | None) -> str:
    action = {"GET": "get", "DELETE": "delete"}.get(verb, "apply" if query and "force" in query else "change")
    return f"{'dry run: ' if query and 'dryRun' in query else ''}{action} {reference}"


def _document(answer: bytes, what: str) -> Manifest:
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise ClusterError(f"the cluster's response is not JSON: {answer[:200]!r}", what=what) from error
    if not isinstance(document, dict):
        raise ClusterError(f"the cluster's response is not an object: {answer[:200]!r}", what=what)
    return document


def _is_absent(answer: bytes) -> bool:
    # an unknown path is a 404 too, but its body is not a Status, or a Status without details.name
    details = _status(answer).get("details")
    return isinstance(details, dict) and bool(details.get("name"))


def _is_passing(error: ClusterError, verb: str) -> bool:
    # a 409 without fields is a concurrent write for a change, and another UID for a deletion
    is_race = error.status == 409 and verb == "PATCH" and not isinstance(error, ConflictError)
    return error.status in (0, *_RETRIED) or is_race
