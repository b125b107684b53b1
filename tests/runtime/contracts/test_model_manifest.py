"""The manifest of a model's folder."""

from collections.abc import Callable
from typing import Any

import pytest

from mlops_runtime.contracts import from_dict, to_dict
from mlops_runtime.contracts.model_manifest import ModelManifest


def test_a_stored_manifest_is_read_and_written_as_it_is(example: Callable[..., Any]) -> None:
    """Its hash is the model's."""
    stored = example("ModelManifest")
    manifest = from_dict(ModelManifest, stored)
    assert (manifest.flavor, manifest.entry, manifest.trust) == ("xgboost", "model.ubj", "data")
    assert to_dict(manifest) == stored


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flavor": "torch"}, "$.flavor must be one of"),
        ({"trust": ...}, "$.trust is missing"),
        ({"files": ["model.ubj"]}, "$.files must be an object"),
        ({"requirements_sha256": None}, "$.requirements_sha256 must be"),
        ({"format": "mlops.model/2"}, "$.format must be one of 'mlops.model/1'"),
    ],
)
def test_fails_for_another_shape(
    example: Callable[..., Any], refusal: Callable[[type, object], str], change: dict[str, Any], message: str
) -> None:
    """A manifest without trust would leave open what loading may do."""
    assert message in refusal(ModelManifest, example("ModelManifest", **change))
