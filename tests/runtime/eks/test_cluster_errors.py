"""What a cluster's refusals mean."""

import json

import pytest

from mlops_runtime.eks.cluster_errors import ClusterError, Conflict, ConflictError, read_error, retry_after, unreachable

# as a cluster answers: https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts
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


def _status(reason: str, message: str, **details: object) -> bytes:
    return json.dumps({"kind": "Status", "reason": reason, "message": message, "details": details}).encode()


def test_a_conflict_names_field_manager_and_fix() -> None:
    """Nothing is forced: whoever manages the field must let go."""
    error = read_error(409, _status("Conflict", "Apply failed", causes=_CAUSES), what="apply Deployment demand/f-blue")

    assert isinstance(error, ConflictError)
    assert error.conflicts == (
        Conflict(".spec.replicas", "kube-controller-manager"),
        Conflict('.spec.template.spec.containers[name="server"].image', "kubectl-edit"),
    )
    assert str(error).startswith(
        "apply Deployment demand/f-blue: .spec.replicas is managed by 'kube-controller-manager', "
    )
    assert "let 'kube-controller-manager' and 'kubectl-edit' give it up (take the field out of what sets it)" in str(
        error
    )


def test_two_writers_at_one_moment_are_no_conflict_of_fields() -> None:
    """It may be tried again."""
    error = read_error(409, _status("Conflict", "the object has been modified"), what="apply X")

    assert not isinstance(error, ConflictError)
    assert (error.status, error.reason) == (409, "Conflict")


@pytest.mark.parametrize(
    ("status", "message", "fix"),
    [
        (401, "Unauthorized", "give it an access entry"),
        (
            403,
            'deployments.apps is forbidden: User "x" cannot patch',
            "give this role's access entry the applier's group",
        ),
        (403, 'resourcequotas "unit" is forbidden: User "x" cannot patch', "apply the tenant's Role and RoleBinding"),
        (403, "exceeded quota: unit, requested: pods=3", "raise the tenant's quota"),
        (404, 'namespaces "demand" not found', "apply the tenant's manifests first"),
        (422, "Deployment is invalid: spec.selector: field is immutable", "(HTTP 422)"),
    ],
)
def test_each_refusal_says_what_to_do(status: int, message: str, fix: str) -> None:
    """In the cluster's words, with the fix."""
    error = read_error(status, _status("R", message), what="apply X")

    assert message in str(error)
    assert fix in str(error)
    assert error.status == status


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>bad gateway</html>", b"[1]", b'{"details": []}', b'{"details": {"causes": 3}}', b"\xff" * 9999],
)
def test_what_is_no_status_is_still_an_error(body: bytes) -> None:
    """Something stands between, or the answer broke off."""
    error = read_error(502, body, what="get X")

    assert type(error) is ClusterError
    assert len(str(error)) < 2_000


def test_how_long_to_wait_is_said_in_header_or_status() -> None:
    """The header counts first; anything else is not said."""
    assert retry_after(b"", "3") == 3.0
    assert retry_after(_status("TooManyRequests", "", retryAfterSeconds=2), None) == 2.0
    assert retry_after(b"", "Wed, 21 Oct 2015 07:28:00 GMT") is None
    assert retry_after(_status("x", "", retryAfterSeconds=-1), None) is None


def test_no_answer_names_the_network() -> None:
    """The endpoint of a private cluster is reached from inside only."""
    assert "the private endpoint is reached from the cluster's network only" in str(
        unreachable(b"timed out", "https://x", "get X")
    )
