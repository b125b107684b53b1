"""Conversion of the values in JSON documents."""

from collections.abc import Callable, Mapping
from typing import Any


def converted(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """Return a document with each value that is neither an object nor a list converted."""
    if isinstance(value, Mapping):
        return {key: converted(item, leaf) for key, item in value.items()}
    if isinstance(value, list):
        return [converted(item, leaf) for item in value]
    return leaf(value)


def booleans(value: Any) -> Any:
    """Convert CloudFormation's ``"true"`` and ``"false"`` to the API's ``true`` and ``false``.

    Example:
        >>> booleans({"Enabled": "true", "Names": ["a"]})
        {'Enabled': True, 'Names': ['a']}
    """
    words = {"true": True, "false": False}
    return converted(value, lambda leaf: words.get(leaf, leaf) if isinstance(leaf, str) else leaf)
