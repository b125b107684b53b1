"""What a cluster refuses of an object, before anything else looks at it."""

from typing import Any

from mlops_local.kubernetes import kinds

DEPLOYMENT = kinds.BY_NAME["apps/v1", "Deployment"]
BINDING = kinds.BY_NAME["eks.amazonaws.com/v1", "TargetGroupBinding"]


def _deployment(**container: Any) -> dict[str, Any]:
    pod = {"containers": [{"name": "model", "image": "a", **container}]}
    template = {"metadata": {"labels": {"app": "a"}}, "spec": pod}
    spec = {"selector": {"matchLabels": {"app": "a"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec}


def test_a_good_object_has_no_causes() -> None:
    """Nothing is wrong with it."""
    assert kinds.causes(DEPLOYMENT, _deployment(resources={"limits": {"cpu": "500m", "memory": "1Gi"}})) == []


def test_a_field_that_the_schema_does_not_declare_is_unknown() -> None:
    """https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation: Strict refuses unknown fields."""
    (cause,) = kinds.causes(DEPLOYMENT, _deployment(imagePullPolcy="Always"))

    assert cause.is_unknown
    assert "imagePullPolcy" in cause.message


def test_quantities_are_held_to_their_expression() -> None:
    """https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/."""
    (cause,) = kinds.causes(DEPLOYMENT, _deployment(resources={"limits": {"cpu": "1 core"}}))

    assert cause.field == "spec.template.spec.containers[0].resources.limits.cpu"
    assert "1 core" in cause.message


def test_a_selector_has_to_match_its_template() -> None:
    """https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#selector."""
    manifest = _deployment()
    manifest["spec"]["selector"]["matchLabels"] = {"app": "b"}

    assert [cause.message for cause in kinds.causes(DEPLOYMENT, manifest)] == [
        "`selector` does not match template `labels`"
    ]


def test_a_name_follows_the_rules_of_dns() -> None:
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/names/."""
    manifest = _deployment()
    manifest["metadata"]["name"] = "Forecast_Blue"

    assert [cause.field for cause in kinds.causes(DEPLOYMENT, manifest)] == ["metadata.name"]


def test_every_problem_of_a_binding_is_named_at_once() -> None:
    """https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/targetgroupbinding/spec/."""
    manifest = {"metadata": {"name": "a"}, "spec": {"serviceRef": {"name": "a"}, "targetType": "pod", "weight": 3}}

    fields = {cause.field for cause in kinds.causes(BINDING, manifest)}

    assert fields == {"spec.weight", "spec.serviceRef.port", "spec.targetGroupARN", "spec.targetType"}
