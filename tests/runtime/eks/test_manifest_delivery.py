"""An administrator's access: created before, removed after, recorded at both ends, whatever happens in between.

Manifests as a custom resource, on a cluster over HTTP.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from moto import mock_aws

from mlops_runtime.contracts.serving import EksTenantSpec
from mlops_runtime.eks.cluster_client import Address, Cluster, ClusterError
from mlops_runtime.eks.kubernetes_objects import FIELD_MANAGER, MANAGED_LABEL, Manifest
from mlops_runtime.eks.manifest_delivery import AdminAccess, AdminError, ManifestsResource
from mlops_runtime.eks.tenant import enforcement_manifest, tenant_manifests

ROLE = "arn:aws:iam::123456789012:role/bootstrap"
POLICY = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
_DATE = {"ResponseMetadata": {"HTTPHeaders": {"date": "Tue, 24 Nov 2026 10:00:09 GMT"}}}


Send = Callable[..., dict[str, Any]]
TENANT = EksTenantSpec(
    namespace="demand", unit="demand", applier_group="mlops:demand", cpu="16", memory="32Gi", pods=20
)
PLACE = [*tenant_manifests(TENANT), enforcement_manifest()]


def _error(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}, **_DATE}, operation)  # type: ignore[typeddict-item] # all of it


class Eks:
    """Access entries as in EKS (botocore's shapes), with faults by operation."""

    def __init__(self) -> None:
        self.entries: dict[str, list[str]] = {}
        self.calls: list[str] = []
        self.faults: dict[str, list[Exception]] = {}

    def _called(self, operation: str) -> None:
        self.calls.append(operation)
        if self.faults.get(operation):
            raise self.faults[operation].pop(0)

    def create_access_entry(self, *, clusterName: str, principalArn: str, type: str) -> dict[str, Any]:  # noqa: N803
        """See https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateAccessEntry.html."""
        assert (clusterName, type) == ("retail", "STANDARD")
        self._called("create")
        if principalArn in self.entries:
            raise _error("ResourceInUseException", "CreateAccessEntry")
        self.entries[principalArn] = []
        return {"accessEntry": {"createdAt": datetime(2026, 11, 24, 10, tzinfo=UTC)}}

    def describe_access_entry(self, *, clusterName: str, principalArn: str) -> dict[str, Any]:  # noqa: N803
        """Return its time of creation."""
        assert (clusterName, principalArn) == ("retail", ROLE)
        self._called("describe")
        return {"accessEntry": {"createdAt": datetime(2026, 11, 24, 10, tzinfo=UTC)}}

    def associate_access_policy(self, *, clusterName: str, principalArn: str, policyArn: str, accessScope: Any) -> None:  # noqa: N803
        """See https://docs.aws.amazon.com/eks/latest/APIReference/API_AssociateAccessPolicy.html."""
        assert (clusterName, accessScope) == ("retail", {"type": "cluster"})
        self._called("associate")
        self.entries[principalArn].append(policyArn)

    def delete_access_entry(self, *, clusterName: str, principalArn: str) -> dict[str, Any]:  # noqa: N803
        """Delete it with its policies."""
        assert clusterName == "retail"
        self._called("delete")
        if principalArn not in self.entries:
            raise _error("ResourceNotFoundException", "DeleteAccessEntry")
        del self.entries[principalArn]
        return _DATE


@pytest.fixture
def eks() -> Eks:
    """Return EKS without an entry."""
    return Eks()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return an audit bucket."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="audit")
        yield client


def _access(eks: Eks, s3: Any) -> AdminAccess:
    return AdminAccess(eks=eks, s3=s3, principal=ROLE, policy=POLICY, bucket="audit", sleep=lambda _: None)


def _records(s3: Any) -> dict[str, dict[str, Any]]:
    listed = s3.list_objects_v2(Bucket="audit").get("Contents", [])
    return {o["Key"]: json.loads(s3.get_object(Bucket="audit", Key=o["Key"])["Body"].read()) for o in listed}


def test_the_access_is_there_while_the_work_is_done(eks: Eks, s3: Any) -> None:
    """With that single policy, recorded at both ends by AWS's clock."""
    with _access(eks, s3).during("retail", "r1"):
        assert eks.entries == {ROLE: [POLICY]}
        assert list(_records(s3)) == ["access/retail/r1-granted.json"]

    assert eks.entries == {}
    records = _records(s3)
    assert [(r["event"], r["at"]) for r in records.values()] == [
        ("GRANTED", "2026-11-24T10:00:00+00:00"),
        ("REMOVED", "Tue, 24 Nov 2026 10:00:09 GMT"),
    ]
    assert {(r["principal"], r["policy"], r["cluster"], r["request"]) for r in records.values()} == {
        (ROLE, POLICY, "retail", "r1")
    }


def test_it_goes_when_the_work_fails(eks: Eks, s3: Any) -> None:
    """For any failure, whose reason is still raised."""
    with pytest.raises(ZeroDivisionError), _access(eks, s3).during("retail", "r1"):
        raise ZeroDivisionError
    assert eks.entries == {}
    assert "access/retail/r1-removed.json" in _records(s3)


def test_it_goes_when_it_is_only_half_made(eks: Eks, s3: Any) -> None:
    """An entry without its policy is removed too."""
    eks.faults["associate"] = [_error("AccessDeniedException", "AssociateAccessPolicy")]
    with pytest.raises(ClientError, match="AccessDenied"), _access(eks, s3).during("retail", "r1"):
        raise AssertionError
    assert eks.entries == {}


def test_nobody_is_administrator_without_a_record(eks: Eks) -> None:
    """If the bucket rejects the record, no access is created."""

    class Closed:
        def put_object(self, **_: object) -> None:
            raise _error("AccessDenied", "PutObject")

    with pytest.raises(ClientError, match="AccessDenied"), _access(eks, Closed()).during("retail", "r1"):
        raise AssertionError
    assert eks.entries == {}


def test_what_a_killed_attempt_left_is_used_and_removed(eks: Eks, s3: Any) -> None:
    """Only this function creates entries for its role."""
    eks.entries[ROLE] = [POLICY]
    with _access(eks, s3).during("retail", "r2"):
        pass
    assert eks.entries == {}


def test_what_a_killed_attempt_left_goes_also_where_nothing_can_be_said_of_it(eks: Eks, s3: Any) -> None:
    """The entry already has the policy: a failure before the work must not leave it."""
    eks.entries[ROLE] = [POLICY]
    eks.faults["describe"] = [_error("ThrottlingException", "DescribeAccessEntry")]
    with pytest.raises(ClientError, match="Throttling"), _access(eks, s3).during("retail", "r2"):
        raise AssertionError
    assert eks.entries == {}


def test_a_refusal_makes_nothing(eks: Eks, s3: Any) -> None:
    """If no entry was created, none is removed or recorded."""
    eks.faults["create"] = [_error("AccessDeniedException", "CreateAccessEntry")]
    with pytest.raises(ClientError, match="AccessDenied"), _access(eks, s3).during("retail", "r1"):
        raise AssertionError
    assert (eks.calls, _records(s3)) == (["create"], {})


def test_an_answer_that_got_lost_leaves_nothing(eks: Eks, s3: Any) -> None:
    """The entry may have been created."""
    eks.entries[ROLE] = []
    eks.faults["create"] = [ReadTimeoutError(endpoint_url="https://eks")]
    with pytest.raises(ReadTimeoutError), _access(eks, s3).during("retail", "r1"):
        raise AssertionError
    assert eks.entries == {}


def test_removing_is_tried_again(eks: Eks, s3: Any) -> None:
    """Throttling must not leave an administrator."""
    eks.faults["delete"] = [_error("ThrottlingException", "DeleteAccessEntry")] * 4
    with _access(eks, s3).during("retail", "r1"):
        pass
    assert eks.entries == {}


def test_removing_is_tried_again_where_no_answer_comes(eks: Eks, s3: Any) -> None:
    """Nor a dropped connection."""
    eks.faults["delete"] = [ReadTimeoutError(endpoint_url="https://eks")] * 4
    with _access(eks, s3).during("retail", "r1"):
        pass
    assert eks.entries == {}
    assert "access/retail/r1-removed.json" in _records(s3)


def test_fails_loudly_when_it_cannot_be_removed(eks: Eks, s3: Any) -> None:
    """With the command that removes it."""
    eks.faults["delete"] = [_error("AccessDeniedException", "DeleteAccessEntry")] * 5
    with (
        pytest.raises(AdminError, match=r"IS STILL THERE: .*aws eks delete-access-entry --cluster-name retail"),
        _access(eks, s3).during("retail", "r1"),
    ):
        pass
    assert list(_records(s3)) == ["access/retail/r1-granted.json"]


def _account(name: str, **changes: Any) -> Manifest:
    metadata = {"name": name, "namespace": "demand", "labels": {MANAGED_LABEL: FIELD_MANAGER}}
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata,
        "automountServiceAccountToken": False,
        **changes,
    }


def _properties(manifests: list[Manifest], name: str = "demand", owned: object = ()) -> dict[str, str]:
    return {
        "ClusterName": "retail",
        "Name": name,
        "Manifests": json.dumps(manifests),
        "Owned": json.dumps(list(owned)),  # type: ignore[call-overload] # a list of lists
    }


@pytest.fixture
def send(fake: Any) -> Send:
    """Send a request to the resource of the fake cluster and return the response."""

    def act(kind: str, properties: dict[str, str], *, admin: Any = None, has_time: bool = True, **event: Any) -> Any:
        received: list[dict[str, Any]] = []
        resource = ManifestsResource(
            connect=lambda name: Cluster(Address(url=fake.url), token=lambda: f"token of {name}", sleep=lambda _: None),
            admin=admin,
            sleep=lambda _: None,
        )
        request = {
            "RequestType": kind,
            "RequestId": "r1",
            "LogicalResourceId": "Place",
            "PhysicalResourceId": "retail/demand",
            "ResourceProperties": properties,
            **event,
        }
        resource.handle(request, lambda _, **answer: received.append(answer), has_time=lambda: has_time)
        (answer,) = received
        return answer

    return act


def _names(fake: Any) -> list[str]:
    return sorted(path.rpartition("/")[2] for path in fake.objects)


def test_a_place_is_made_and_deleted_with_its_resource(fake: Any, send: Send) -> None:
    """The cluster-wide setting stays, because other units need it."""
    answer = send("Create", _properties(PLACE))
    assert answer == {"physical_id": "retail/demand", "data": {"Applied": "9"}, "failure": None}
    assert _names(fake) == [
        "amazon-vpc-cni",
        "default-deny",
        "demand",
        "mlops-applier",
        "mlops-applier",
        "mlops-slots",
        "mlops-slots",
        "unit",
        "unit",
    ]

    assert send("Delete", _properties(PLACE))["data"] == {"Deleted": "8"}
    assert _names(fake) == ["amazon-vpc-cni"]


def test_the_same_again_changes_nothing(fake: Any, send: Send) -> None:
    """CloudFormation may repeat a request."""
    send("Create", _properties(PLACE))
    before = json.dumps(fake.objects, sort_keys=True)
    assert send("Create", _properties(PLACE))["failure"] is None
    assert json.dumps(fake.objects, sort_keys=True) == before


def test_what_left_the_manifests_is_deleted(fake: Any, send: Send) -> None:
    """An update applies new objects and deletes removed ones."""
    old, new = _properties([_account("a"), _account("b")]), _properties([_account("b"), _account("c")])
    send("Create", old)
    assert send("Update", new, OldResourceProperties=old)["failure"] is None
    assert _names(fake) == ["b", "c"]


def test_another_name_is_another_resource(fake: Any, send: Send) -> None:
    """CloudFormation deletes the former one, and the update does not."""
    old, new = _properties([_account("a")], "one"), _properties([_account("b")], "two")
    send("Create", old)
    answer = send("Update", new, OldResourceProperties=old)
    assert answer["physical_id"] == "retail/two"
    assert _names(fake) == ["a", "b"]


def test_what_others_applied_goes_first(fake: Any, send: Send) -> None:
    """The Deploy machine applies the slots; objects that send traffic to them are deleted first."""
    owned = [["eks.amazonaws.com/v1", "TargetGroupBinding", "demand", "forecast-blue"]]
    binding = "/apis/eks.amazonaws.com/v1/namespaces/demand/targetgroupbindings/forecast-blue"
    fake.objects[binding] = {"metadata": {"uid": "u", "labels": {MANAGED_LABEL: FIELD_MANAGER}}}
    properties = _properties([_account("a")], owned=owned)
    send("Create", properties)
    assert send("Delete", properties)["data"] == {"Deleted": "2"}
    assert next(path for verb, path in fake.writes if verb == "DELETE") == binding


def test_what_is_not_ours_stays(fake: Any, send: Send) -> None:
    """A name used by another owner is an error, and nothing is deleted."""
    properties = _properties([_account("a"), _account("b")])
    send("Create", properties)
    fake.objects["/api/v1/namespaces/demand/serviceaccounts/a"]["metadata"]["labels"] = {}
    assert "not created by this library" in send("Delete", properties)["failure"]
    assert _names(fake) == ["a", "b"]


def test_a_conflict_changes_nothing_and_leaves_nothing_to_delete(fake: Any, send: Send) -> None:
    """The physical id of a failed creation deletes nothing."""
    path = "/api/v1/namespaces/demand/serviceaccounts/a"
    fake.objects[path] = {"metadata": {"uid": "u", "name": "a"}}
    fake.update(path, "argocd", {"automountServiceAccountToken": True})
    properties = _properties([_account("b"), _account("a")])

    answer = send("Create", properties)
    assert "automountServiceAccountToken is managed by 'argocd'" in answer["failure"]
    assert (answer["physical_id"], fake.writes) == ("Place/not-created", [])

    assert send("Delete", properties, PhysicalResourceId=answer["physical_id"])["data"] == {"Deleted": "0"}
    assert fake.writes == []


def test_a_creation_that_stopped_half_way_is_deleted(fake: Any, send: Send) -> None:
    """CloudFormation rolls the creation back."""
    properties, answers = _properties([_account("a"), _account("b")]), fake.answer

    def refuses(verb: str, target: str, sent: Any, kind: str) -> Any:
        if verb == "PATCH" and "serviceaccounts/b" in target and "dryRun" not in target:
            return 403, {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "not allowed"}
        return answers(verb, target, sent, kind)

    fake.answer = refuses
    answer = send("Create", properties)
    assert answer["failure"].startswith("HalfAppliedError: partially applied")
    assert (answer["physical_id"], _names(fake)) == ("retail/demand", ["a"])

    send("Delete", properties, PhysicalResourceId=answer["physical_id"])
    assert _names(fake) == []


def test_an_access_entry_that_is_not_known_yet_is_waited_for(fake: Any, send: Send) -> None:
    """EKS activates entries after a moment."""
    for status in (401, 403, 401):
        fake.fail("GET", "serviceaccounts/a", status, {"kind": "Status", "code": status, "message": "who"})
    assert send("Create", _properties([_account("a")]))["failure"] is None


def test_fails_when_the_entry_never_comes(fake: Any, send: Send) -> None:
    """A platform team has not applied the namespace's roles yet."""
    for _ in range(40):
        fake.fail(
            "GET", "serviceaccounts/a", 403, {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no"}
        )
    answer = send("Create", _properties([_account("a")]))
    assert answer["failure"].startswith("ClusterError: get ServiceAccount demand/a")
    assert answer["physical_id"] == "Place/not-created"


def test_a_namespace_is_waited_for_until_it_is_empty(fake: Any, send: Send) -> None:
    """An immediate redeployment must not find a terminating namespace."""
    send("Create", _properties(PLACE))
    gone = fake.answer

    def lingers(verb: str, target: str, sent: Any, kind: str) -> Any:
        if verb == "DELETE" and target.startswith("/api/v1/namespaces/demand") and target.count("/") == 4:
            return 200, fake.objects["/api/v1/namespaces/demand"]
        return gone(verb, target, sent, kind)

    fake.answer = lingers
    assert "is still being emptied" in send("Delete", _properties(PLACE), has_time=False)["failure"]


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_cluster_that_is_gone_has_taken_all_with_it(wrapped: bool) -> None:
    """Deleting the stack after the cluster succeeds; any other error is raised."""

    def answer_of(code: str) -> dict[str, Any]:
        def connect(_: str) -> Cluster:
            error = ClientError({"Error": {"Code": code, "Message": code}}, "DescribeCluster")
            if wrapped:
                raise ClusterError("gone", what="connect") from error
            raise error

        received: list[dict[str, Any]] = []
        event = {
            "RequestType": "Delete",
            "RequestId": "r",
            "LogicalResourceId": "Place",
            "PhysicalResourceId": "retail/demand",
            "ResourceProperties": _properties([_account("a")]),
        }
        ManifestsResource(connect=connect).handle(event, lambda _, **a: received.append(a), has_time=lambda: True)
        return received[0]

    assert answer_of("ResourceNotFoundException")["failure"] is None
    assert answer_of("AccessDeniedException")["failure"] is not None


def test_an_access_entry_that_is_not_known_yet_is_no_cluster_that_is_gone(fake: Any) -> None:
    """EKS has one error for both: an existing namespace must not look deleted."""

    class Admin:
        @contextmanager
        def during(self, cluster: str, request: str) -> Any:  # noqa: ARG002 - as AdminAccess has it
            code = "ResourceNotFoundException"
            raise ClientError({"Error": {"Code": code, "Message": "no such principal"}}, "AssociateAccessPolicy")
            yield

    received: list[dict[str, Any]] = []
    event = {
        "RequestType": "Delete",
        "RequestId": "r",
        "LogicalResourceId": "Place",
        "PhysicalResourceId": "retail/demand",
        "ResourceProperties": _properties(PLACE),
    }
    here = Cluster(Address(url=fake.url), token=lambda: "t", sleep=lambda _: None)
    resource = ManifestsResource(connect=lambda _: here, admin=Admin())  # type: ignore[arg-type]
    resource.handle(event, lambda _, **a: received.append(a), has_time=lambda: True)
    assert "no such principal" in received[0]["failure"]


def test_an_administrator_works_inside_its_access(fake: Any, send: Send) -> None:
    """The access spans all of it, under the request's id."""
    held: list[str] = []

    class Admin:
        @contextmanager
        def during(self, cluster: str, request: str) -> Any:
            held.append(f"{cluster} {request} from {len(fake.writes)}")
            yield
            held.append(f"until {len(fake.writes)}")

    assert send("Create", _properties(PLACE), admin=Admin())["failure"] is None
    assert held == ["retail r1 from 0", "until 9"]


def test_fails_when_the_access_cannot_be_taken_back(fake: Any, send: Send) -> None:
    """Objects applied so far are deleted with the creation."""

    class Admin:
        @contextmanager
        def during(self, *_: str) -> Any:
            yield
            raise RuntimeError("STILL THERE")

    answer = send("Create", _properties(PLACE), admin=Admin())
    assert (answer["physical_id"], answer["failure"]) == ("retail/demand", "RuntimeError: STILL THERE")
