"""The subset of JSONPath in mapping templates and parameter mappings: names, indices and ``[*]``."""

import re
from typing import Any

_STEP = re.compile(
    r"\.([A-Za-z_][\w-]*)|\[\s*'([^']*)'\s*\]|\[\s*\"([^\"]*)\"\s*\]|\[\s*(\d+)\s*\]|(\[\s*\*\s*\]|\.\*)"
)


class PathError(ValueError):
    """A JSONPath that the embedded cloud does not support."""


def find(document: Any, path: str) -> Any:
    """Return the value at a path.

    Args:
        document: A JSON value.
        path: ``$``, ``$.a.b``, ``$.a[0]``, ``$['a']``, ``$.a[*].b``.

    Returns:
        The value; a list if the path has ``[*]``; ``None`` if the path does not exist.

    Raises:
        PathError: For filters, slices and recursive descent.

    Example:
        >>> find({"rows": [{"x": 1}, {"x": 2}]}, "$.rows[*].x")
        [1, 2]
    """
    if not path.startswith("$"):
        raise PathError(f"a JSONPath of the embedded cloud starts with $, got {path!r}")
    nodes, position, is_list = [document], 1, False
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise PathError(
                f"the embedded cloud does not evaluate {path!r} from {path[position:]!r} on: use names, indices and [*]"
            )
        position = step.end()
        name = next((given for given in step.groups()[:3] if given is not None), None)
        if step[5]:
            is_list = True
            nodes = [item for node in nodes for item in _items(node)]
        elif name is not None:
            nodes = [node[name] for node in nodes if isinstance(node, dict) and name in node]
        else:
            index = int(step[4])
            nodes = [node[index] for node in nodes if isinstance(node, list) and index < len(node)]
    return nodes if is_list else next(iter(nodes), None)


def _items(node: Any) -> list[Any]:
    return list(node.values()) if isinstance(node, dict) else list(node) if isinstance(node, list) else []
