"""Status objects, and validation of objects: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/.

A cluster validates an object before any other processing.
"""

from typing import Any

from mlops_local.kubernetes import object_kinds

DEPLOYMENT = object_kinds.BY_NAME["apps/v1", "Deployment"]
POD = object_kinds.BY_NAME["v1", "Pod"]


BINDING = object_kinds.BY_NAME["eks.amazonaws.com/v1", "TargetGroupBinding"]


def test_what_is_not_there_is_named_with_its_group() -> None:
    """As kubectl shows it: deployments.apps "a" not found."""
    body = object_kinds.not_found(DEPLOYMENT, "a").body()

    assert body == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404,
        "message": 'deployments.apps "a" not found', "details": {"name": "a", "group": "apps", "kind": "deployments"},
    }  # fmt: skip


def test_one_conflict_is_one_sentence() -> None:
    """The message of k8s.io/apimachinery/pkg/util/managedfields/internal/conflict.go."""
    error = object_kinds.conflict(DEPLOYMENT, "a", [('"hpa"', ".spec.replicas")])

    assert error.message == 'Apply failed with 1 conflict: conflict with "hpa": .spec.replicas'
    assert error.body()["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "hpa"', "field": ".spec.replicas"}
    ]


def test_several_conflicts_are_listed_by_manager() -> None:
    """The same file, for more than one."""
    error = object_kinds.conflict(DEPLOYMENT, "a", [('"b"', ".spec.x"), ('"a"', ".spec.y"), ('"b"', ".spec.z")])

    assert error.message == (
        'Apply failed with 3 conflicts: conflicts with "a":\n- .spec.y\nconflicts with "b":\n- .spec.x\n- .spec.z'
    )


def test_unknown_fields_are_a_bad_request_and_others_invalid() -> None:
    """A typed patch cannot be built from the first; the second fails the object's validation."""
    unknown = object_kinds.invalid(
        DEPLOYMENT, "a", [object_kinds.Cause("spec.x", "field not declared", is_unknown=True)]
    )
    invalid = object_kinds.invalid(DEPLOYMENT, "a", [object_kinds.Cause("spec.replicas", "must not be negative")])

    assert (unknown.code, unknown.reason) == (400, "BadRequest")
    assert (invalid.code, invalid.reason) == (422, "Invalid")
    assert invalid.message == 'Deployment.apps "a" is invalid: spec.replicas: must not be negative'


def test_a_core_kind_has_no_group_in_its_name() -> None:
    """The message has pods "a" without a dot."""
    error = object_kinds.forbidden(POD, "a", "no")

    assert error.message == 'pods "a" is forbidden: no'
    assert object_kinds.forbidden(POD, "", "no").message == "pods is forbidden: no"


def test_another_uid_than_was_meant_is_a_conflict() -> None:
    """https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/delete-options/ (preconditions.uid)."""
    error = object_kinds.precondition(POD, "a", "1", "2")

    assert error.code == 409
    assert "UID in precondition: 1, UID in object meta: 2" in error.message


def test_who_is_not_known_is_told_nothing() -> None:
    """Unauthorized, without details."""
    assert object_kinds.unauthorized().body()["message"] == "Unauthorized"


def _deployment(**container: Any) -> dict[str, Any]:
    pod = {"containers": [{"name": "model", "image": "a", **container}]}
    template = {"metadata": {"labels": {"app": "a"}}, "spec": pod}
    spec = {"selector": {"matchLabels": {"app": "a"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec}


def test_a_good_object_has_no_causes() -> None:
    """A valid object has no causes."""
    assert object_kinds.causes(DEPLOYMENT, _deployment(resources={"limits": {"cpu": "500m", "memory": "1Gi"}})) == []


def test_a_field_that_the_schema_does_not_declare_is_unknown() -> None:
    """https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation: Strict refuses unknown fields."""
    (cause,) = object_kinds.causes(DEPLOYMENT, _deployment(imagePullPolcy="Always"))

    assert cause.is_unknown
    assert "imagePullPolcy" in cause.message


def test_quantities_are_held_to_their_expression() -> None:
    """https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/."""
    (cause,) = object_kinds.causes(DEPLOYMENT, _deployment(resources={"limits": {"cpu": "1 core"}}))

    assert cause.field == "spec.template.spec.containers[0].resources.limits.cpu"
    assert "1 core" in cause.message


def test_a_selector_has_to_match_its_template() -> None:
    """https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#selector."""
    manifest = _deployment()
    manifest["spec"]["selector"]["matchLabels"] = {"app": "b"}

    assert [cause.message for cause in object_kinds.causes(DEPLOYMENT, manifest)] == [
        "`selector` does not match template `labels`"
    ]


def test_a_name_follows_the_rules_of_dns() -> None:
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/names/."""
    manifest = _deployment()
    manifest["metadata"]["name"] = "Forecast_Blue"

    assert [cause.field for cause in object_kinds.causes(DEPLOYMENT, manifest)] == ["metadata.name"]


def test_every_problem_of_a_binding_is_named_at_once() -> None:
    """https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/targetgroupbinding/spec/."""
    manifest = {"metadata": {"name": "a"}, "spec": {"serviceRef": {"name": "a"}, "targetType": "pod", "weight": 3}}

    fields = {cause.field for cause in object_kinds.causes(BINDING, manifest)}

    assert fields == {"spec.weight", "spec.serviceRef.port", "spec.targetGroupARN", "spec.targetType"}
