"""JSON of a plan's requests: every key, also of those that are not made."""

from tests.runtime.rollout.world import SPEC

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.serving import GoldenSpec, ToleranceSpec
from mlops_runtime.rollout.evidence_requests import PairsRequest, shadow_verdict
from mlops_runtime.rollout.plan_requests import RehearsalRequest, ShadowRequest, SyntheticRequest

GOLDEN = GoldenSpec(uri="s3://golden/g.jsonl", sha256="a" * 64)
VERDICT = shadow_verdict(SPEC, config="c-shadow", variant="Shadow", since="2017-08-01T09:00:00Z")


def shadow(pairs: PairsRequest | None) -> dict[str, object]:
    """Return the document of a shadow."""
    return ShadowRequest(
        config={"EndpointConfigName": "c-shadow", "ProductionVariants": []},
        update={"EndpointName": "e", "EndpointConfigName": "c-shadow"},
        variant="Shadow",
        bake=600,
        period=60,
        verdict=VERDICT,
        pairs=pairs,
        max_errors=-1,
        max_latency=0,
    ).as_dict()


def test_a_request_that_is_not_made_is_an_empty_object() -> None:
    """The machine tests a field of it, which fails for null."""
    assert shadow(None)["pairs"] == {}
    tolerance = ToleranceSpec(relative=0.0, absolute=0.1, max_changed=0.0)
    pairs = PairsRequest(endpoint="e", live="AllTraffic", shadow="Shadow", destination="s3://c/c", tolerance=tolerance)
    assert shadow(pairs)["pairs"] == to_dict(pairs)
    assert shadow(pairs)["verdict"] == to_dict(VERDICT)


def test_another_missing_value_is_null() -> None:
    """Its key exists, as JSONata requires."""
    made = RehearsalRequest(
        config={"EndpointConfigName": "r", "ProductionVariants": []},
        endpoint={"EndpointName": "r", "EndpointConfigName": "r"},
        golden=GOLDEN,
        answers="rehearsals/e/c.json",
        live_endpoint=None,
    )
    assert made.as_dict() == {
        "config": {"EndpointConfigName": "r", "ProductionVariants": []},
        "endpoint": {"EndpointName": "r", "EndpointConfigName": "r"},
        "golden": {"uri": GOLDEN.uri, "sha256": GOLDEN.sha256},
        "answers": "rehearsals/e/c.json",
        "live_endpoint": None,
    }


def test_nested_contracts_are_objects() -> None:
    """Their optional fields are left out, as everywhere."""
    made = SyntheticRequest(golden=GOLDEN, calls=5).as_dict()
    assert made == {"golden": {"uri": GOLDEN.uri, "sha256": GOLDEN.sha256}, "calls": 5}
