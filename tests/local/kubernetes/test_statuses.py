"""The Status objects: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/."""

from mlops_local.kubernetes import kinds, statuses

DEPLOYMENT = kinds.BY_NAME["apps/v1", "Deployment"]
POD = kinds.BY_NAME["v1", "Pod"]


def test_what_is_not_there_is_named_with_its_group() -> None:
    """As kubectl shows it: deployments.apps "a" not found."""
    body = statuses.not_found(DEPLOYMENT, "a").body()

    assert body == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404,
        "message": 'deployments.apps "a" not found', "details": {"name": "a", "group": "apps", "kind": "deployments"},
    }  # fmt: skip


def test_one_conflict_is_one_sentence() -> None:
    """The words of k8s.io/apimachinery/pkg/util/managedfields/internal/conflict.go."""
    error = statuses.conflict(DEPLOYMENT, "a", [('"hpa"', ".spec.replicas")])

    assert error.message == 'Apply failed with 1 conflict: conflict with "hpa": .spec.replicas'
    assert error.body()["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "hpa"', "field": ".spec.replicas"}
    ]


def test_several_conflicts_are_listed_by_manager() -> None:
    """The same file, for more than one."""
    error = statuses.conflict(DEPLOYMENT, "a", [('"b"', ".spec.x"), ('"a"', ".spec.y"), ('"b"', ".spec.z")])

    assert error.message == (
        'Apply failed with 3 conflicts: conflicts with "a":\n- .spec.y\nconflicts with "b":\n- .spec.x\n- .spec.z'
    )


def test_unknown_fields_are_a_bad_request_and_others_invalid() -> None:
    """A typed patch cannot be made of the first, the second is a validation of the object."""
    unknown = statuses.invalid(DEPLOYMENT, "a", [kinds.Cause("spec.x", "field not declared", is_unknown=True)])
    invalid = statuses.invalid(DEPLOYMENT, "a", [kinds.Cause("spec.replicas", "must not be negative")])

    assert (unknown.code, unknown.reason) == (400, "BadRequest")
    assert (invalid.code, invalid.reason) == (422, "Invalid")
    assert invalid.message == 'Deployment.apps "a" is invalid: spec.replicas: must not be negative'


def test_a_core_kind_has_no_group_in_its_name() -> None:
    """It says pods "a", and nothing behind a dot."""
    error = statuses.forbidden(POD, "a", "no")

    assert error.message == 'pods "a" is forbidden: no'
    assert statuses.forbidden(POD, "", "no").message == "pods is forbidden: no"


def test_another_uid_than_was_meant_is_a_conflict() -> None:
    """https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/delete-options/ (preconditions.uid)."""
    error = statuses.precondition(POD, "a", "1", "2")

    assert error.code == 409
    assert "UID in precondition: 1, UID in object meta: 2" in error.message


def test_who_is_not_known_is_told_nothing() -> None:
    """Unauthorized, and nothing else."""
    assert statuses.unauthorized().body()["message"] == "Unauthorized"
