"""Fleets and their views as documents: another shape is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from mlops_runtime.contracts import canonical_json, from_dict, from_json
from mlops_runtime.contracts.fleet import FleetFile, FleetView


def test_a_view_reads_back(example: Callable[..., dict[str, Any]]) -> None:
    """A model that nothing watches or serves leaves out what is not known of it."""
    view = from_dict(FleetView, example("FleetView", **{"models.0.version": ..., "models.0.digest": ...}))

    assert from_json(FleetView, canonical_json(view)) == view
    assert (view.models[0].version, view.models[0].quality, view.models[0].waiting) == (None, None, ())


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("environments.0.account", 111111111111, "account"),
        ("environments.0.region", ..., "region"),
        ("format", "mlops.fleet/2", "format"),
    ],
)
def test_another_shape_is_refused(
    example: Callable[..., dict[str, Any]],
    refusal: Callable[[type, object], str],
    field: str,
    value: object,
    named: str,
) -> None:
    """By the JSON schema and by the codec."""
    assert named in refusal(FleetFile, example("FleetFile", **{field: value}))
