"""The hash of a Deploy machine's definition, computed at synthesis and verifiable from a template.

A machine passes the hash of its definition to the recorder, so the definition contains it. The hash is the SHA-256 of the canonical
JSON of ``DefinitionString`` with that one value empty; intrinsic functions stay as in the template.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_runtime.contracts import content_hash

FIELD = "machine_sha256"
_VALUE = re.compile(r'("machine_sha256":")([0-9a-f]{64})(")')


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedMachine:
    """A machine of a template whose definition contains a hash."""

    logical_id: str  # its logical id in the template
    stated: str  # the hash in the definition
    found: str  # the hash of the definition


def definition_sha256(definition: Any) -> str:
    """Return the hash of a ``DefinitionString``.

    Example:
        >>> empty = {"Fn::Join": ["", ['{"Comment":"', {"Ref": "Name"}, '","machine_sha256":""}']]}
        >>> digest = definition_sha256(empty)
        >>> with_hash = {"Fn::Join": ["", ['{"Comment":"', {"Ref": "Name"}, f'","machine_sha256":"{digest}"}}']]}
        >>> definition_sha256(with_hash) == digest
        True
    """
    return content_hash(_without(definition))


def hashed_machines(template: Mapping[str, Any]) -> list[HashedMachine]:
    """Return the machines of a template whose definition contains a hash, ordered by logical id."""
    found = []
    for logical_id, resource in sorted(template.get("Resources", {}).items()):
        if resource.get("Type") == "AWS::StepFunctions::StateMachine":
            definition = resource.get("Properties", {}).get("DefinitionString", "")
            stated = next((match[2] for text in _texts(definition) for match in _VALUE.finditer(text)), None)
            if stated is not None:
                digest = definition_sha256(definition)
                found.append(HashedMachine(logical_id=logical_id, stated=stated, found=digest))
    return found


def _without(value: Any) -> Any:
    if isinstance(value, str):
        return _VALUE.sub(r"\1\3", value)
    if isinstance(value, Mapping):
        return {name: _without(content) for name, content in value.items()}
    return [_without(content) for content in value] if isinstance(value, list | tuple) else value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for content in value.values():
            yield from _texts(content)
    elif isinstance(value, list | tuple):
        for content in value:
            yield from _texts(content)
