"""Permissions required by EKS calls."""

from urllib.parse import quote

import pytest

from mlops_local.iam import eks_requests

PREFIX = "arn:aws:eks:us-east-1:123456789012:"
ROLE = "arn:aws:iam::123456789012:role/team/bootstrap"
ENTRY = f"{PREFIX}access-entry/retail/role/123456789012/bootstrap/00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/clusters/retail", f"{PREFIX}cluster/retail"),
        ("/clusters/retail/access-entries", f"{PREFIX}cluster/retail"),
        ("/clusters/retail/pod-identity-associations", f"{PREFIX}cluster/retail"),
        (f"/clusters/retail/access-entries/{quote(ROLE, safe='')}", ENTRY),
        (f"/clusters/retail/access-entries/{ROLE}/access-policies", ENTRY),
        ("/clusters", "*"),
        ("/tags/x", "*"),
    ],
)
def test_the_path_names_the_resource(path: str, resource: str) -> None:
    """An access entry has the role's name without the role's path."""
    assert eks_requests.resources(path, PREFIX) == [resource]


def test_the_body_has_the_condition_keys() -> None:
    """The entry's principal and groups; the policy and its access scope."""
    assert eks_requests.context({"principalArn": ROLE, "kubernetesGroups": ["a"]}) == {
        "eks:principalArn": ROLE,
        "eks:kubernetesGroups": ["a"],
    }
    assert eks_requests.context({"policyArn": "p", "accessScope": {"type": "namespace", "namespaces": ["demand"]}}) == {
        "eks:policyArn": "p",
        "eks:accessScope": "namespace",
        "eks:namespaces": ["demand"],
    }
    assert eks_requests.context({}) == {}
