"""`aws:PrincipalArn` of a session is its role's."""

import pytest
from botocore.exceptions import ClientError


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
