"""``RequestSchema``: the requests that an API accepts for a model, read from a JSON schema file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_constructs._arguments import checked
from mlops_constructs._validation import ValidationError
from mlops_runtime.contracts.serving import RequestPromise
from mlops_runtime.inference_api.request_promise import PromiseError, read_promise

_SMALLEST = {"text": "", "boolean": 0, "number": 0, "integer": 0, "integer text": 0}


@checked("InvalidRequestSchema")
@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSchema:
    """The requests that an API accepts for a model: fixed for its callers, independent of the live model.

    Args:
        name: Name of the file, for messages.
        schema: JSON schema (draft-04), by which API Gateway validates request bodies.

    Raises:
        ValidationError: If the schema is not in the form that ``mlops api schema`` writes; lists every problem.

    Example:
        >>> RequestSchema.from_file("forecast.schema.json").promise.max_rows
        50
    """

    name: str
    schema: Mapping[str, Any]

    def __post_init__(self) -> None:
        try:
            content = json.dumps(self.schema)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValidationError("InvalidRequestSchema", [f"schema must be JSON: {error}"]) from error
        try:
            read_promise(content, self.name)
        except PromiseError as error:
            raise ValidationError("InvalidRequestSchema", [str(error)]) from error

    @classmethod
    def from_file(cls, path: str | Path) -> "RequestSchema":
        """Read a file that ``mlops api schema`` wrote; bounds and enumerations of columns may be added by hand.

        Args:
            path: Path of the file.

        Raises:
            ValidationError: If the file cannot be read or is not such a schema; lists every problem.
        """
        try:
            schema = json.loads(Path(path).read_bytes())
        except OSError as error:
            problem = f"path must be a file that mlops api schema has written, got {str(path)!r}: {error.strerror}"
            raise ValidationError("InvalidRequestSchema", [problem]) from error
        except (ValueError, RecursionError) as error:
            raise ValidationError("InvalidRequestSchema", [f"{Path(path).name} is not JSON: {error}"]) from error
        if not isinstance(schema, dict):
            problem = f"{Path(path).name} must be a JSON object as mlops api schema writes it"
            raise ValidationError("InvalidRequestSchema", [problem])
        return cls(name=Path(path).name, schema=schema)

    @property
    def promise(self) -> RequestPromise:
        """Columns and maximum number of rows that the schema allows."""
        return read_promise(json.dumps(self.schema), self.name)[1]

    @property
    def smallest_body(self) -> int:
        """Smallest possible size, in bytes, of a request with the maximum number of rows."""
        promise = self.promise
        rows: list[object] = [{c.name: _SMALLEST[c.kind] for c in promise.columns if c.is_required}]
        if promise.arrays is not None:
            rows.append([_SMALLEST[column.kind] for column in promise.columns])
        frame, count = len('{"instances":[]}'), promise.max_rows
        smallest = min(len(json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode()) for row in rows)
        return frame + count * smallest + count - 1
