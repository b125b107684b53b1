"""Compatibility of a package's model with the APIs, by its evaluation."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.passed import EVALUATION
from tests.runtime.rollout.world import PACKAGE, SPEC, World

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.inference_api.request_promise import read_promise, request_schema
from mlops_runtime.registry.model_package import package_request, registered_metadata
from mlops_runtime.rollout.kept_promises import desired_promises, package_promises

PRICE, STOCK = (SignatureColumn(name=name, type="number") for name in ("price", "stock"))
SIGNATURE = ModelSignature(inputs=(PRICE,), output="units")
PROMISE = read_promise(json.dumps(request_schema(SIGNATURE)), "units.schema.json")[1]
BROKEN = (
    "units.schema.json does not require column 'stock', which the model needs; publish v2",
    "units.schema.json allows rows as arrays of 1 values, the model takes 2; publish v2",
)
NEEDS_STOCK = replace(SIGNATURE, inputs=(PRICE, STOCK))


def evaluated(world: World, signature: ModelSignature | None) -> dict[str, Any]:
    """Write the evaluation of a model; return the metadata and the container of its package."""
    content = canonical_json(replace(EVALUATION, signature=signature))
    key = PACKAGE.evaluation_uri.removeprefix("s3://artifacts/")
    world.s3.put_object(Bucket="artifacts", Key=key, Body=content)
    requested: dict[str, Any] = package_request(PACKAGE)
    (container,) = requested["InferenceSpecification"]["Containers"]
    metadata = requested["CustomerMetadataProperties"] | {"evaluation_sha256": hashlib.sha256(content).hexdigest()}
    return {"CustomerMetadataProperties": registered_metadata(container, metadata)}


@pytest.mark.parametrize(("signature", "problems"), [(SIGNATURE, ()), (NEEDS_STOCK, BROKEN)])
def test_a_candidate_is_compared_by_the_signature_of_its_evaluation(
    world: World, signature: ModelSignature, problems: tuple[str, ...]
) -> None:
    """All differences are reported."""
    assert package_promises(world.s3, "artifacts", (PROMISE,), evaluated(world, signature)) == problems


def test_what_cannot_be_compared_is_not_believed(world: World) -> None:
    """Rejects a missing signature, an evaluation other than the registered one, and a missing or foreign location."""
    unsigned = evaluated(world, None)
    (problem,) = package_promises(world.s3, "artifacts", (PROMISE,), unsigned)
    assert problem == "its evaluation has no signature to compare with units.schema.json; train or register it again"

    evaluated(world, SIGNATURE)
    (problem,) = package_promises(world.s3, "artifacts", (PROMISE,), unsigned)
    assert problem.endswith("evaluation.json is not the registered evaluation")

    world.s3.delete_object(Bucket="artifacts", Key=PACKAGE.evaluation_uri.removeprefix("s3://artifacts/"))
    (problem,) = package_promises(world.s3, "artifacts", (PROMISE,), unsigned)
    assert problem.endswith("evaluation.json is missing, or belongs to a pipeline of another endpoint")

    (problem,) = package_promises(world.s3, "others", (PROMISE,), unsigned)
    assert problem.endswith("outside of s3://others/")


def test_an_answer_of_s3_that_says_nothing_of_the_model_is_an_error(world: World) -> None:
    """The Deploy machine retries."""
    described = {"CustomerMetadataProperties": {"evaluation_uri": "s3://nowhere/evaluations/one.json"}}
    with pytest.raises(ClientError, match="NoSuchBucket"):
        package_promises(world.s3, "nowhere", (PROMISE,), described)


def test_what_is_promised_is_of_the_desired_spec(world: World) -> None:
    """Empty before the stack stores a spec, and without an API on the endpoint."""
    assert desired_promises(world.s3, "artifacts", world.table) == ()
    world.store(replace(SPEC, promises=(PROMISE,)))
    assert desired_promises(world.s3, "artifacts", world.table) == (PROMISE,)
    world.store()
    assert desired_promises(world.s3, "artifacts", world.table) == ()


def test_facts_have_what_a_candidate_breaks_except_on_a_way_back(world: World) -> None:
    """The former live version must be able to serve again, also if an API requires more since."""
    world.store(replace(SPEC, promises=(PROMISE,)))
    package = world.package(**evaluated(world, NEEDS_STOCK))

    assert world.facts(world.request("approval", package)).promises == BROKEN
    assert world.facts(world.request("rollback", package)).promises == ()

    world.store()
    assert world.facts(world.request("approval", package)).promises == ()
