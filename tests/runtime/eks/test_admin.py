"""An administrator's access: made before, removed after, recorded at both ends, whatever happens between."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from moto import mock_aws

from mlops_runtime.eks.admin import AdminAccess, AdminError

ROLE = "arn:aws:iam::123456789012:role/bootstrap"
POLICY = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
_DATE = {"ResponseMetadata": {"HTTPHeaders": {"date": "Tue, 24 Nov 2026 10:00:09 GMT"}}}


def _error(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}, **_DATE}, operation)  # type: ignore[typeddict-item] # all of it


class Eks:
    """Access entries as EKS has them (botocore's shapes), with faults by operation."""

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
        """Say since when it is there."""
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
    """EKS without an entry."""
    return Eks()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An audit bucket."""
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
    """With that one policy, and on the record at both ends by AWS's own clock."""
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
    """Whatever it is, and the reason stays the one that is told."""
    with pytest.raises(ZeroDivisionError), _access(eks, s3).during("retail", "r1"):
        raise ZeroDivisionError
    assert eks.entries == {}
    assert "access/retail/r1-removed.json" in _records(s3)


def test_it_goes_when_it_is_only_half_made(eks: Eks, s3: Any) -> None:
    """An entry whose policy was refused is removed too."""
    eks.faults["associate"] = [_error("AccessDeniedException", "AssociateAccessPolicy")]
    with pytest.raises(ClientError, match="AccessDenied"), _access(eks, s3).during("retail", "r1"):
        raise AssertionError
    assert eks.entries == {}


def test_nobody_is_administrator_without_a_record(eks: Eks) -> None:
    """A bucket that takes no record ends it before it begins."""

    class Closed:
        def put_object(self, **_: object) -> None:
            raise _error("AccessDenied", "PutObject")

    with pytest.raises(ClientError, match="AccessDenied"), _access(eks, Closed()).during("retail", "r1"):
        raise AssertionError
    assert eks.entries == {}


def test_what_a_killed_attempt_left_is_used_and_removed(eks: Eks, s3: Any) -> None:
    """The role is the function's own: nobody else gives it an entry."""
    eks.entries[ROLE] = [POLICY]
    with _access(eks, s3).during("retail", "r2"):
        pass
    assert eks.entries == {}


def test_what_a_killed_attempt_left_goes_also_where_nothing_can_be_said_of_it(eks: Eks, s3: Any) -> None:
    """It has the policy already: a call that fails before the work must not leave it."""
    eks.entries[ROLE] = [POLICY]
    eks.faults["describe"] = [_error("ThrottlingException", "DescribeAccessEntry")]
    with pytest.raises(ClientError, match="Throttling"), _access(eks, s3).during("retail", "r2"):
        raise AssertionError
    assert eks.entries == {}


def test_a_refusal_makes_nothing(eks: Eks, s3: Any) -> None:
    """Where no entry could be made there is none to remove, and no record of one."""
    eks.faults["create"] = [_error("AccessDeniedException", "CreateAccessEntry")]
    with pytest.raises(ClientError, match="AccessDenied"), _access(eks, s3).during("retail", "r1"):
        raise AssertionError
    assert (eks.calls, _records(s3)) == (["create"], {})


def test_an_answer_that_got_lost_leaves_nothing(eks: Eks, s3: Any) -> None:
    """The entry may have been made."""
    eks.entries[ROLE] = []
    eks.faults["create"] = [ReadTimeoutError(endpoint_url="https://eks")]
    with pytest.raises(ReadTimeoutError), _access(eks, s3).during("retail", "r1"):
        raise AssertionError
    assert eks.entries == {}


def test_removing_is_tried_again(eks: Eks, s3: Any) -> None:
    """A throttled call is no reason to stay administrator."""
    eks.faults["delete"] = [_error("ThrottlingException", "DeleteAccessEntry")] * 4
    with _access(eks, s3).during("retail", "r1"):
        pass
    assert eks.entries == {}


def test_removing_is_tried_again_where_no_answer_comes(eks: Eks, s3: Any) -> None:
    """A connection that breaks is no reason either."""
    eks.faults["delete"] = [ReadTimeoutError(endpoint_url="https://eks")] * 4
    with _access(eks, s3).during("retail", "r1"):
        pass
    assert eks.entries == {}
    assert "access/retail/r1-removed.json" in _records(s3)


def test_fails_loudly_when_it_cannot_be_removed(eks: Eks, s3: Any) -> None:
    """With the command that does it."""
    eks.faults["delete"] = [_error("AccessDeniedException", "DeleteAccessEntry")] * 5
    with (
        pytest.raises(AdminError, match=r"IS STILL THERE: .*aws eks delete-access-entry --cluster-name retail"),
        _access(eks, s3).during("retail", "r1"),
    ):
        pass
    assert list(_records(s3)) == ["access/retail/r1-granted.json"]
