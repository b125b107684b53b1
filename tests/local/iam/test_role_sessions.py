"""A session keeps its source identity, both sides must allow setting it, and conditions see the role's ARN."""

import sys
import threading

import boto3
import pytest
from botocore.exceptions import ClientError
from ministack.core import iam_evaluator
from ministack.services import sts

from mlops_local.iam import role_sessions

BOTH = ["sts:AssumeRole", "sts:SetSourceIdentity"]


@pytest.fixture
def make_taken(make_role):
    """Make a role that the account trusts for the given actions, with the given policy statements."""
    return lambda actions, *statements: make_role(*statements, trust={"Action": actions})


@pytest.fixture
def take(cloud):
    """Assume a role as root or from a session; return AWS's response and a client factory of the role."""

    def taken(role, *, by=None, **more):
        answer = (by or cloud.client)("sts").assume_role(RoleArn=role, RoleSessionName="tester", **more)
        keys = answer["Credentials"]

        def client(service):
            return boto3.client(
                service,
                region_name="us-east-1",
                endpoint_url=cloud.endpoint_url,
                aws_access_key_id=keys["AccessKeyId"],
                aws_secret_access_key=keys["SecretAccessKey"],
                aws_session_token=keys["SessionToken"],
            )

        return answer, client

    return taken


def test_a_session_keeps_its_source_identity(allow, make_taken, take):
    """Policy conditions can use it, and the response has it."""
    lists = allow("sns:ListTopics", StringEquals={"aws:SourceIdentity": "ann@example.com"})
    role = make_taken(BOTH, lists)

    answer, ann = take(role, SourceIdentity="ann@example.com")
    _, ben = take(role, SourceIdentity="ben")
    _, other = take(role)

    assert answer["SourceIdentity"] == "ann@example.com"
    assert ann("sns").list_topics()["Topics"] is not None
    for each in (ben, other):
        with pytest.raises(ClientError, match="sns:ListTopics"):
            each("sns").list_topics()


def test_the_trust_policy_must_allow_it(allow, make_taken, take):
    """Without permission the role can be assumed only without a source identity."""
    role = make_taken(["sts:AssumeRole"])

    with pytest.raises(ClientError, match=r"perform: sts:SetSourceIdentity on resource: .*role/") as error:
        take(role, SourceIdentity="ann")

    assert error.value.response["Error"]["Code"] == "AccessDenied"
    assert "SourceIdentity" not in take(role)[0]


def test_the_caller_must_be_allowed_too(allow, make_taken, take):
    """The caller's policy may limit the values."""
    target = make_taken(BOTH)
    may = allow("sts:AssumeRole", resource=target)
    sets = allow("sts:SetSourceIdentity", resource=target, StringLike={"sts:SourceIdentity": "ann*"})
    _, without = take(make_taken(BOTH, may))
    _, within = take(make_taken(BOTH, may, sets))

    with pytest.raises(ClientError, match="sts:SetSourceIdentity"):
        take(target, by=without, SourceIdentity="ann")
    with pytest.raises(ClientError, match="sts:SetSourceIdentity"):
        take(target, by=within, SourceIdentity="ben")
    assert take(target, by=within, SourceIdentity="ann")[0]["SourceIdentity"] == "ann"


def test_it_is_kept_along_a_chain_and_never_changed(allow, make_taken, take):
    """Each role of the chain must allow it."""
    target, closed = make_taken(BOTH), make_taken(["sts:AssumeRole"])
    _, first = take(make_taken(BOTH, allow(*BOTH)), SourceIdentity="ann")

    assert take(target, by=first)[0]["SourceIdentity"] == "ann"
    with pytest.raises(ClientError, match="cannot be changed"):
        take(target, by=first, SourceIdentity="ben")
    with pytest.raises(ClientError, match="sts:SetSourceIdentity"):
        take(closed, by=first)


@pytest.mark.parametrize("name", ["Ann Ek", "a/b", "ann*"])
def test_fails_on_a_name_that_aws_does_not_take(allow, make_taken, take, name):
    """Letters, digits and a few signs are valid."""
    with pytest.raises(ClientError, match="sourceIdentity"):
        take(make_taken(BOTH), SourceIdentity=name)


def test_sessions_of_many_threads_are_all_registered(monkeypatch):
    """Sessions started by functions concurrently with a stack's new function must all be registered."""
    for module, names in {sts: ["handle_request", "register_session", "_principal_keys"],
                          iam_evaluator: ["evaluate_trust_policy", "_principal_keys", "_resolve_condition_key"],
                          }.items():  # fmt: skip
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name))  # restored afterwards
    monkeypatch.setattr(sts, "_sessions", {})
    role_sessions.install()
    switches = sys.getswitchinterval()
    monkeypatch.setattr(threading, "excepthook", lambda _: None)  # the missing sessions fail the test
    threads = [
        threading.Thread(target=lambda first=first: [sts.register_session(f"{first}-{i}", {}) for i in range(300)])
        for first in range(8)
    ]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switches)

    assert len(sts._sessions) == 8 * 300


def test_a_trust_policy_names_the_role_of_a_session(allow, make_role, acting_as):
    """Only of that role; the session's own ARN never matches."""
    taker, other = (make_role(allow("sts:AssumeRole"), allow("sts:SetSourceIdentity")) for _ in range(2))
    role = make_role(trust={"Condition": {"ArnEquals": {"aws:PrincipalArn": taker}}})
    session = taker.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/tester"
    of_session = make_role(trust={"Condition": {"ArnEquals": {"aws:PrincipalArn": session}}})

    taken = acting_as(taker)("sts").assume_role(RoleArn=role, RoleSessionName="ann")

    assert taken["AssumedRoleUser"]["Arn"].endswith("/ann")
    for by, to in ((other, role), (taker, of_session)):
        with pytest.raises(ClientError, match="AccessDenied"):
            acting_as(by)("sts").assume_role(RoleArn=to, RoleSessionName="ann")


def test_a_policy_sees_the_role_too(allow, make_role, acting_as):
    """With its path, which a session's ARN lacks."""
    role = make_role(allow("sns:ListTopics", ArnLike={"aws:PrincipalArn": "arn:aws:iam::*:role/role-*"}))

    assert acting_as(role)("sns").list_topics()["Topics"] is not None
