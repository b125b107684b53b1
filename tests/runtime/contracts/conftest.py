"""Fixtures of contract tests: stored examples, changed documents, errors."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mlops_runtime.contracts import ContractError, from_dict, json_schema

_EXAMPLES = Path(__file__).parent / "examples"


@pytest.fixture
def example() -> Callable[..., dict[str, Any]]:
    """Read a stored example, with changes: ``example("Counts", **{"features.0.counts": "1"})``; ``...`` takes a field away."""

    def read(name: str, **changes: Any) -> dict[str, Any]:
        document = json.loads((_EXAMPLES / f"{name}.json").read_text())
        for path, value in changes.items():
            *parents, last = path.split(".")
            holder = document
            for parent in parents:
                holder = holder[int(parent) if isinstance(holder, list) else parent]
            if value is ...:
                del holder[last]
            else:
                holder[last] = copy.deepcopy(value)
        return document

    return read


@pytest.fixture
def refusal() -> Callable[[type, object], str]:
    """Return the error of a document, after asserting that the contract's JSON schema rejects it too."""

    def refuse(kind: type, document: object) -> str:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document, json_schema(kind))
        with pytest.raises(ContractError) as error:
            from_dict(kind, document)
        return str(error.value)

    return refuse
