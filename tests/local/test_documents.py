"""Conversion of the values in JSON documents."""

from mlops_local.documents import booleans, converted


def test_every_value_is_converted() -> None:
    """Objects and lists keep their form, and names are not converted."""
    found = converted({"a": 1, "b": [2, {"c": 3}]}, lambda leaf: leaf + 1)

    assert found == {"a": 2, "b": [3, {"c": 4}]}


def test_booleans_of_templates_become_the_apis() -> None:
    """Other values stay as they are."""
    assert booleans({"true": "true", "n": "1", "some": ["false", None, 0]}) == {
        "true": True, "n": "1", "some": [False, None, 0],
    }  # fmt: skip
