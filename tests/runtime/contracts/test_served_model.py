"""The model that an environment serves, as reported to its source."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.reported import STAGING, state, version

from mlops_runtime.contracts import canonical_json, from_dict, from_json
from mlops_runtime.contracts.served_model import ServedState, model_served


def test_a_state_reads_back(example: Callable[..., dict[str, Any]]) -> None:
    """Every version in it is one of its own."""
    found = from_dict(ServedState, example("ServedState"))

    assert from_json(ServedState, canonical_json(found)) == found
    assert [each.version for each in found.versions] == ["demand-forecast/3", "demand-forecast/4"]


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, "PROMOTED"),
        ({"rolled_back": (version(number=4, minute=5),)}, "PROMOTED"),
        ({"rolled_back": (version(number=4, minute=20),)}, "ROLLED_BACK"),
        ({"serves": None}, "DELETED"),
    ],
)
def test_the_event_says_what_was_done_last(changes: dict[str, Any], outcome: str) -> None:
    """Its id is a hash of the content, so a repeat has the same."""
    reported = model_served("demand-forecast", state(STAGING, **changes))

    assert (reported.subject, reported.outcome) == ("demand-forecast", outcome)
    assert reported.id == model_served("demand-forecast", state(STAGING, **changes)).id
    assert from_json(ServedState, reported.attributes["served"]) == state(STAGING, **changes)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("hops", "1", "hops"),
        ("serves.binding", ..., "binding"),
        ("sequence", 1.5, "sequence"),
        ("format", "mlops.served/2", "format"),
        ("rolled_back", {}, "rolled_back"),
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
    assert named in refusal(ServedState, example("ServedState", **{field: value}))
