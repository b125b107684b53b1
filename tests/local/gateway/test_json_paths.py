"""JSONPath in templates."""

from typing import Any

import pytest

from mlops_local.gateway.json_paths import PathError, find

DOCUMENT = {"rows": [{"x": 1, "a b": "é"}, {"x": None}], "n": {"m": False}}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", DOCUMENT), ("$.n.m", False), ("$.rows[0].x", 1), ("$.rows[0]['a b']", "é"), ("$['n'].m", False),
        ("$.rows[*].x", [1, None]), ("$.n.*", [False]), ("$.rows[7]", None), ("$.absent.x", None), ("$.n[0]", None),
    ],
)  # fmt: skip
def test_a_path_leads_to_its_value(path: str, found: Any) -> None:
    """Or to nothing."""
    assert find(DOCUMENT, path) == found


@pytest.mark.parametrize("path", ["rows", "$..x", "$.rows[?(@.x)]", "$.rows[0:1]", "$.n."])
def test_what_is_not_evaluated_is_refused(path: str) -> None:
    """By name, instead of an empty result."""
    with pytest.raises(PathError):
        find(DOCUMENT, path)
