"""A cluster's API over real HTTP and TLS.

The errors of a cluster.

The bearer token of EKS: a presigned GetCallerIdentity that names the cluster.
"""

import base64
import datetime
import http.client
import ipaddress
import json
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock
from urllib.parse import parse_qs, urlsplit

import boto3
import kmock
import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.runtime.eks.fake_cluster import FakeCluster
from tests.runtime.eks.samples import SPEC, VERSION

from mlops_runtime.eks.cluster_client import (
    PREFIX,
    Address,
    BearerToken,
    Cluster,
    ClusterError,
    Conflict,
    ConflictError,
    TokenError,
    address,
    describe,
    read_error,
    retry_after,
    unreachable,
)
from mlops_runtime.eks.kubernetes_objects import Manifest, path, ref
from mlops_runtime.eks.manifests import slot_manifests

_SERVICE, _BINDING, _, _DEPLOYMENT, _SCALER = slot_manifests(SPEC, "blue", VERSION)
_PATH = "/apis/apps/v1/namespaces/bu-demand/deployments/demand-forecast-blue"


# a cluster's response: https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts
_CAUSES = [
    {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "kube-controller-manager" with subresource "scale" using apps/v1: .spec.replicas',
        "field": ".spec.replicas",
    },
    {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "kubectl-edit" using apps/v1',
        "field": '.spec.template.spec.containers[name="server"].image',
    },
]


class _Waits(list[float]):
    """Records the waits."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def _cluster(fake: FakeCluster, token: Callable[[], str] = lambda: "t", sleep: Any = None) -> Cluster:
    return Cluster(Address(url=fake.url), token=token, sleep=_Waits() if sleep is None else sleep)


def test_apply_says_who_and_never_forces(fake: FakeCluster) -> None:
    """Uses our field manager, strict field validation and the bearer token."""
    made = _cluster(fake).apply(_DEPLOYMENT)

    verb, path, query, sent = fake.requests[0]
    assert (verb, path) == ("PATCH", _PATH)
    assert query == {"fieldManager": "mlops-constructs", "fieldValidation": "Strict", "force": "false"}
    assert sent == _DEPLOYMENT
    assert fake.headers[0]["Content-Type"] == "application/apply-patch+yaml"
    assert fake.headers[0]["Authorization"] == "Bearer t"
    assert made["metadata"]["name"] == "demand-forecast-blue"


def test_applying_the_same_again_changes_nothing(fake: FakeCluster) -> None:
    """And a dry run never changes anything."""
    cluster = _cluster(fake)
    cluster.apply(_SERVICE, dry_run=True)
    assert fake.objects == {}
    cluster.apply(_SERVICE)
    before = json.dumps(fake.objects)
    cluster.apply(_SERVICE)

    assert json.dumps(fake.objects) == before
    assert (
        cluster.get(ref(_SERVICE)) == json.loads(before)["/api/v1/namespaces/bu-demand/services/demand-forecast-blue"]
    )


def test_what_is_not_there_is_none(fake: FakeCluster) -> None:
    """For get and delete; a change of a missing object is an error."""
    cluster = _cluster(fake)

    assert cluster.get(ref(_DEPLOYMENT)) is None
    assert cluster.delete(ref(_DEPLOYMENT)) is False
    with pytest.raises(ClusterError, match=r"change Deployment bu-demand/demand-forecast-blue: .* not found"):
        cluster.scale(ref(_DEPLOYMENT), 0)


def test_a_path_that_the_cluster_does_not_have_is_no_absence(fake: FakeCluster) -> None:
    """A cluster without the kind's definition also returns 404, which differs from a missing object."""
    fake.fail("GET", "targetgroupbindings", 404, b"404 page not found")

    with pytest.raises(ClusterError, match="check that the cluster has this kind"):
        _cluster(fake).get(ref(_BINDING))


def test_a_field_of_somebody_else_is_a_conflict_and_the_same_value_is_not(fake: FakeCluster) -> None:
    """An equal value of another manager is shared."""
    cluster = _cluster(fake)
    cluster.apply(_DEPLOYMENT)
    fake.update(_PATH, "kubectl-edit", {"spec": {"revisionHistoryLimit": 9, "progressDeadlineSeconds": 600}})

    with pytest.raises(ConflictError) as error:
        cluster.apply(_DEPLOYMENT)

    assert [(c.field, c.manager) for c in error.value.conflicts] == [(".spec.revisionHistoryLimit", "kubectl-edit")]
    assert len(fake.requests) == 2  # not retried
    assert fake.objects[_PATH]["spec"]["revisionHistoryLimit"] == 9


def test_scale_changes_the_number_of_pods_alone(fake: FakeCluster) -> None:
    """By the subresource, as a merge patch."""
    cluster = _cluster(fake)
    cluster.apply(_DEPLOYMENT)
    cluster.scale(ref(_DEPLOYMENT), 4)

    assert fake.requests[1][:2] == ("PATCH", f"{_PATH}/scale")
    assert fake.headers[1]["Content-Type"] == "application/merge-patch+json"
    assert fake.objects[_PATH]["spec"]["replicas"] == 4


def test_delete_is_of_the_one_that_was_seen(fake: FakeCluster) -> None:
    """By its uid; another object of the name stays."""
    cluster = _cluster(fake)
    uid = cluster.apply(_DEPLOYMENT)["metadata"]["uid"]

    with pytest.raises(ClusterError, match="UID in the precondition"):
        cluster.delete(ref(_DEPLOYMENT), uid="another")
    assert len(fake.requests) == 2  # not retried
    assert cluster.delete(ref(_DEPLOYMENT), uid=uid) is True
    assert fake.objects == {}


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 0, 409])
def test_what_passes_is_tried_again(fake: FakeCluster, status: int) -> None:
    """Throttling, a server error, a dropped connection, and concurrent writes."""
    waits = _Waits()
    for _ in range(2):
        fake.fail("PATCH", "deployments", status, {"kind": "Status", "message": "busy"})

    _cluster(fake, sleep=waits).apply(_DEPLOYMENT)

    assert len(fake.requests) == 3
    assert waits == [0.5, 1.0]
    assert _PATH in fake.objects


def test_the_cluster_says_how_long_to_wait(fake: FakeCluster) -> None:
    """Up to a limit."""
    waits = _Waits()
    fake.fail("GET", "deployments", 429, {}, Retry_After="3")
    fake.fail("GET", "deployments", 429, {}, Retry_After="3600")

    assert _cluster(fake, sleep=waits).get(ref(_DEPLOYMENT)) is None
    assert waits == [3.0, 8.0]


def test_trying_has_an_end(fake: FakeCluster) -> None:
    """Six attempts in less than half a minute of waits; the last response is in the error."""
    waits = _Waits()
    for _ in range(6):
        fake.fail("PATCH", "", 503, {"kind": "Status", "message": "etcd leader changed"})

    with pytest.raises(ClusterError, match=r"etcd leader changed \(HTTP 503\)"):
        _cluster(fake, sleep=waits).apply(_DEPLOYMENT)

    assert len(fake.requests) == 6
    assert sum(waits) < 30


@pytest.mark.parametrize("status", [400, 403, 404, 415, 422])
def test_what_does_not_pass_is_said_at_once(fake: FakeCluster, status: int) -> None:
    """An access error is not retried."""
    fake.fail("PATCH", "deployments", status, {"kind": "Status", "message": "no"})

    with pytest.raises(ClusterError) as error:
        _cluster(fake).apply(_DEPLOYMENT)

    assert error.value.status == status
    assert len(fake.requests) == 1


def test_an_expired_token_is_signed_anew_once(fake: FakeCluster) -> None:
    """A role unknown to the cluster is not retried for ever."""
    tokens = iter(["old", "new", "wrong"])
    fake.token = "old"
    cluster = _cluster(fake, token=lambda: next(tokens))
    cluster.apply(_DEPLOYMENT)
    fake.token = "new"
    cluster.apply(_DEPLOYMENT)
    fake.token = "other"

    with pytest.raises(ClusterError, match="the cluster has no access entry for this role: create one"):
        cluster.apply(_DEPLOYMENT)
    assert len(fake.requests) == 5


def test_no_error_and_no_log_shows_the_token(fake: FakeCluster, caplog: pytest.LogCaptureFixture) -> None:
    """Its holder has this role for a quarter of an hour."""
    fake.fail("GET", "", 500, {"kind": "Status", "message": "x"})
    fake.fail("GET", "", 403, {"kind": "Status", "message": "y"})

    with pytest.raises(ClusterError) as error:
        _cluster(fake, token=lambda: "k8s-aws-v1.secret").get(ref(_DEPLOYMENT))

    assert "secret" not in str(error.value) + caplog.text
    assert "attempt 1 of 6" in caplog.text


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"a"', b"[" * 100_000])
def test_an_answer_that_is_no_object_is_an_error(fake: FakeCluster, body: bytes) -> None:
    """The server is not a cluster."""
    fake.fail("GET", "deployments", 200, body)

    with pytest.raises(ClusterError, match="the cluster's response is not"):
        _cluster(fake).get(ref(_DEPLOYMENT))


def test_an_answer_without_end_is_an_error(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our objects are far smaller."""
    monkeypatch.setattr("mlops_runtime.eks.cluster_client._MAX_ANSWER", 10)
    fake.fail("GET", "deployments", 200, b"{" + b" " * 20 + b"}")

    with pytest.raises(ClusterError, match="returned more than 10 bytes"):
        _cluster(fake).get(ref(_DEPLOYMENT))


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1",
        "http://cluster",
        "ftp://127.0.0.1",
        "127.0.0.1",
        "",
        "https://",
        "https://x:port",
        "https://[x",
    ],
)
def test_a_token_goes_over_tls_only(url: str) -> None:
    """Plain HTTP is allowed on the loopback interface only."""
    with pytest.raises(ClusterError, match="must be https"):
        Address(url=url)
    assert isinstance(Address(url="http://127.0.0.1:1").connection(), http.client.HTTPConnection)


def test_a_cluster_is_found_by_its_name(fake: FakeCluster) -> None:
    """Endpoint and authority come from DescribeCluster (botocore, eks, Cluster)."""
    cluster = {
        "endpoint": fake.url,
        "certificateAuthority": {"data": base64.b64encode(b"PEM").decode()},
        "status": "ACTIVE",
    }
    client = Mock(**{"describe_cluster.return_value": {"cluster": cluster}})
    session = Mock(**{"client.return_value": client})

    assert address(describe(session, "serving"), "serving") == Address(url=fake.url, authority="PEM")
    client.describe_cluster.assert_called_once_with(name="serving")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": ""}}, "DescribeCluster"),
            "the cluster does not exist",
        ),
        ([{"cluster": {"status": "CREATING"}}], "it has no endpoint, status 'CREATING'; wait until it is ACTIVE"),
    ],
)
def test_a_cluster_that_is_not_there_is_said(answer: Any, message: str) -> None:
    """The error names it."""
    client = Mock(**{"describe_cluster.side_effect": answer})

    with pytest.raises(ClusterError, match=f"connect to cluster 'serving': {message}"):
        Cluster.connect(Mock(**{"client.return_value": client}), "serving")


def test_a_cluster_without_a_private_endpoint_is_refused_by_name() -> None:
    """VpcConfigResponse.endpointPrivateAccess is false by default; no request runs into its timeout."""
    settings = {"endpointPublicAccess": True, "endpointPrivateAccess": False}
    cluster = {"endpoint": "https://x", "status": "ACTIVE", "resourcesVpcConfig": settings}
    client = Mock(**{"describe_cluster.return_value": {"cluster": cluster}})

    with pytest.raises(ClusterError, match="its private endpoint is disabled") as error:
        Cluster.connect(Mock(**{"client.return_value": client}), "serving")

    fix = "aws eks update-cluster-config --name serving --resources-vpc-config endpointPrivateAccess=true"
    assert fix in str(error.value)


@pytest.mark.parametrize(("described", "is_auto_mode"), [({"computeConfig": {"enabled": True}}, True), ({}, False)])
def test_a_cluster_knows_whether_it_runs_auto_mode(described: dict[str, Any], is_auto_mode: bool) -> None:
    """By computeConfig.enabled, which may be absent."""
    client = Mock(**{"describe_cluster.return_value": {"cluster": {"endpoint": "https://x", **described}}})

    assert Cluster.connect(Mock(**{"client.return_value": client}), "serving").is_auto_mode is is_auto_mode


def test_a_group_of_the_api_is_there_or_not(fake: FakeCluster) -> None:
    """404 means not registered, 503 that its server is unavailable; anything else is an error."""
    for status in (404, *(503,) * 6):
        fake.fail("GET", "metrics.k8s.io", status, b"page not found")
    cluster = _cluster(fake, sleep=_Waits())
    assert not cluster.serves("metrics.k8s.io/v1beta1")
    assert not cluster.serves("metrics.k8s.io/v1beta1")
    fake.fail("GET", "metrics.k8s.io", 403, {"kind": "Status", "message": "no"})

    with pytest.raises(ClusterError, match="no"):
        cluster.serves("metrics.k8s.io/v1beta1")


def test_what_iam_refuses_is_iams_error() -> None:
    """Its message is the most precise."""
    denied = ClientError(
        {"Error": {"Code": "AccessDeniedException", "Message": "eks:DescribeCluster"}}, "DescribeCluster"
    )
    client = Mock(**{"describe_cluster.side_effect": denied})

    with pytest.raises(ClientError, match="eks:DescribeCluster"):
        Cluster.connect(Mock(**{"client.return_value": client}), "serving")


class _Authority:
    """An authority like those of EKS: self-signed, without key identifier."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        self.pem = self._sign(self._name, self._key, basic).public_bytes(serialization.Encoding.PEM).decode()

    def server(self, folder: Path) -> Path:
        """Write certificate and key of a server on 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        path = folder / "server.pem"
        form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        pem = serialization.Encoding.PEM
        path.write_bytes(self._sign(subject, key, address).public_bytes(pem) + key.private_bytes(pem, *form))
        return path

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        builder = (
            builder.serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)
        )
        return builder.add_extension(extension, critical=True).sign(self._key, hashes.SHA256())


@contextmanager
def _tls(certificate: Path) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"kind": "Deployment"}')

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_cluster_proves_itself_by_its_own_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with strict Python (3.13 and later), for which EKS' authorities are not made; another certificate is rejected."""
    ours, other = _Authority(), _Authority()
    usual = ssl.create_default_context

    def strict(**options: Any) -> ssl.SSLContext:
        context = usual(**options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    with _tls(ours.server(tmp_path)) as url:
        assert Cluster(Address(url=url, authority=ours.pem), token=lambda: "t").get(ref(_DEPLOYMENT)) == {
            "kind": "Deployment"
        }
        waits = _Waits()
        with pytest.raises(ClusterError, match="is not this cluster's"):
            Cluster(Address(url=url, authority=other.pem), token=lambda: "t", sleep=waits).get(ref(_DEPLOYMENT))
        assert waits == []


def test_an_authority_that_is_none_is_said() -> None:
    """Before anything is sent."""
    with pytest.raises(ClusterError, match="the certificate authority of https://x cannot be read"):
        Address(url="https://x", authority="no PEM").connection()


def test_a_cluster_that_is_not_reached_says_so() -> None:
    """After fewer attempts, because each may take long."""
    waits = _Waits()

    with pytest.raises(ClusterError, match=r"no response from http://127\.0\.0\.1:1: ConnectionRefusedError"):
        Cluster(Address(url="http://127.0.0.1:1"), token=lambda: "t", sleep=waits).get(ref(_DEPLOYMENT))
    assert waits == [0.5, 1.0]


@pytest.fixture
def emulator() -> Iterator[SimpleNamespace]:
    """Run the emulator of kmock in a thread with its own loop."""
    import asyncio

    loop, ready = asyncio.new_event_loop(), threading.Event()
    found = SimpleNamespace()

    async def serve() -> None:
        app = kmock.KubernetesEmulator()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of kmock reading its own files
            app.resources.load_bundled()
        async with app, kmock.Server(app) as server:
            found.url, found.stop = str(server.url).rstrip("/"), asyncio.Event()
            ready.set()
            await found.stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(20)
    yield found
    loop.call_soon_threadsafe(found.stop.set)
    thread.join()
    loop.close()


def test_an_independent_emulator_takes_our_requests(emulator: SimpleNamespace) -> None:
    """It supports our paths and patches, but creates nothing by a patch, so the objects exist before."""
    cluster = Cluster(Address(url=emulator.url), token=lambda: "t")
    made: list[Manifest] = [_SERVICE, _DEPLOYMENT, _SCALER]
    for manifest in made:
        bare = {
            "apiVersion": manifest["apiVersion"],
            "kind": manifest["kind"],
            "metadata": {"name": "demand-forecast-blue"},
        }
        collection = path(ref(manifest)).rpartition("/")[0]
        connection = Address(url=emulator.url).connection()
        connection.request("POST", collection, body=json.dumps(bare), headers={"Content-Type": "application/json"})
        assert connection.getresponse().status == 200
        connection.close()
        cluster.apply(manifest)
        live = cluster.get(ref(manifest))
        assert live is not None
        assert live["spec"] == manifest["spec"]
    cluster.scale(ref(_DEPLOYMENT), 7)
    changed = cluster.get(ref(_DEPLOYMENT))
    assert changed is not None
    assert changed["spec"]["replicas"] == 7
    assert [cluster.delete(ref(manifest)) for manifest in made] == [True] * 3


def _status(reason: str, message: str, **details: object) -> bytes:
    return json.dumps({"kind": "Status", "reason": reason, "message": message, "details": details}).encode()


def test_a_conflict_names_field_manager_and_fix() -> None:
    """Nothing is forced: the other manager must release the field."""
    error = read_error(409, _status("Conflict", "Apply failed", causes=_CAUSES), what="apply Deployment demand/f-blue")

    assert isinstance(error, ConflictError)
    assert error.conflicts == (
        Conflict(".spec.replicas", "kube-controller-manager"),
        Conflict('.spec.template.spec.containers[name="server"].image', "kubectl-edit"),
    )
    assert str(error).startswith(
        "apply Deployment demand/f-blue: .spec.replicas is managed by 'kube-controller-manager', "
    )
    assert "remove the field from the configuration of 'kube-controller-manager' and 'kubectl-edit'" in str(error)


def test_two_writers_at_one_moment_are_no_conflict_of_fields() -> None:
    """It may be retried."""
    error = read_error(409, _status("Conflict", "the object has been modified"), what="apply X")

    assert not isinstance(error, ConflictError)
    assert (error.status, error.reason) == (409, "Conflict")


@pytest.mark.parametrize(
    ("status", "message", "fix"),
    [
        (401, "Unauthorized", "no access entry for this role"),
        (
            403,
            'deployments.apps is forbidden: User "x" cannot patch',
            "add the applier's group to this role's access entry",
        ),
        (403, 'resourcequotas "unit" is forbidden: User "x" cannot patch', "apply the tenant's Role and RoleBinding"),
        (403, "exceeded quota: unit, requested: pods=3", "raise the tenant's quota"),
        (404, 'namespaces "demand" not found', "apply the tenant's manifests first"),
        (422, "Deployment is invalid: spec.selector: field is immutable", "(HTTP 422)"),
    ],
)
def test_each_refusal_says_what_to_do(status: int, message: str, fix: str) -> None:
    """In the cluster's words with the fix."""
    error = read_error(status, _status("R", message), what="apply X")

    assert message in str(error)
    assert fix in str(error)
    assert error.status == status


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>bad gateway</html>", b"[1]", b'{"details": []}', b'{"details": {"causes": 3}}', b"\xff" * 9999],
)
def test_what_is_no_status_is_still_an_error(body: bytes) -> None:
    """A proxy responded, or the response was cut off."""
    error = read_error(502, body, what="get X")

    assert type(error) is ClusterError
    assert len(str(error)) < 2_000


def test_how_long_to_wait_is_said_in_header_or_status() -> None:
    """The header takes precedence; other values are ignored."""
    assert retry_after(b"", "3") == 3.0
    assert retry_after(_status("TooManyRequests", "", retryAfterSeconds=2), None) == 2.0
    assert retry_after(b"", "Wed, 21 Oct 2015 07:28:00 GMT") is None
    assert retry_after(_status("x", "", retryAfterSeconds=-1), None) is None


def test_no_answer_names_the_network() -> None:
    """The endpoint of a private cluster is reachable only from inside."""
    assert "the private endpoint can only be reached from the cluster's network" in str(
        unreachable(b"timed out", "https://x", "get X")
    )


def _session(region: str | None = "eu-west-1", token: str | None = None) -> boto3.Session:
    return boto3.Session("AKIATEST", "secret", token, region_name=region)


def _url(text: str) -> str:
    assert text.startswith(PREFIX)
    encoded = text.removeprefix(PREFIX)
    assert "=" not in encoded
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()


def test_the_token_is_a_signed_call_of_sts_for_one_cluster() -> None:
    """As required by https://docs.aws.amazon.com/eks/latest/userguide/cluster-auth.html and the authenticator."""
    parts = urlsplit(_url(BearerToken(_session(token="session-token"), "serving")()))
    query = {key: values[0] for key, values in parse_qs(parts.query).items()}

    assert (parts.scheme, parts.netloc, parts.path) == ("https", "sts.eu-west-1.amazonaws.com", "/")
    assert (query["Action"], query["Version"], query["X-Amz-Expires"]) == ("GetCallerIdentity", "2011-06-15", "60")
    assert query["X-Amz-SignedHeaders"] == "host;x-k8s-aws-id"
    assert query["X-Amz-Security-Token"] == "session-token"


def test_the_signature_holds_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing again with the header gives the same signature, and another cluster's name does not."""
    parts = urlsplit(_url(BearerToken(_session(), "serving")()))
    query = {key: values[0] for key, values in parse_qs(parts.query).items()}

    def signature(cluster: str) -> str:
        request = AWSRequest("GET", f"https://{parts.netloc}/?Action=GetCallerIdentity&Version=2011-06-15")
        request.headers["x-k8s-aws-id"] = cluster
        signer = SigV4QueryAuth(Credentials("AKIATEST", "secret"), "sts", "eu-west-1", expires=60)
        monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: _stamp(query["X-Amz-Date"]))
        signer.add_auth(request)
        return parse_qs(urlsplit(request.url).query)["X-Amz-Signature"][0]

    assert signature("serving") == query["X-Amz-Signature"]
    assert signature("other") != query["X-Amz-Signature"]


def _stamp(text: str) -> object:
    from datetime import UTC, datetime

    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def test_the_real_sts_is_named_whatever_this_process_is_pointed_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster calls it, not this process; China has its own domain."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")

    assert urlsplit(_url(BearerToken(_session("cn-north-1"), "c")())).netloc == "sts.cn-north-1.amazonaws.com.cn"


def test_no_credentials_and_no_region_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the missing setting."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "none")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")

    with pytest.raises(TokenError, match="needs a session with credentials, got one without"):
        BearerToken(boto3.Session(region_name="eu-west-1"), "c")()
    with pytest.raises(TokenError, match="a Region"):
        BearerToken(_session(None), "c")()
