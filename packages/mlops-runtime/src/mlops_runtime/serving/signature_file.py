"""Validate a hand-written ``signature.json``: every problem is reported at once, including unknown keys.

Programs ignore unknown keys, since a later version of a contract only adds optional ones. In a hand-written file, an unknown key
is a mistake: a misspelt ``nullable`` would allow no null.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches

from mlops_runtime.contracts import ContractError, from_dict
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.serving.served_model import SIGNATURE_FILE, column_problems, kind_problems

SIGNATURE_KEYS = tuple(field.name for field in fields(ModelSignature))
COLUMN_KEYS = tuple(field.name for field in fields(SignatureColumn))


def read_signature(content: bytes) -> tuple[ModelSignature | None, list[str]]:
    """Return the signature in a file, None if it is invalid, and every problem, without the file's name.

    Example:
        >>> print(read_signature(b'{"inputs": [{"name": "age", "type": "number", "nulable": true}], "output": "y"}')[1][0])
        inputs[0] ('age') has no key 'nulable' (did you mean 'nullable'?), a column's keys are name, type, ...
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:  # RecursionError: brackets without end
        return None, [f"not JSON: {error}"]
    unknown = list(_unknown_keys(document))
    try:
        signature = from_dict(ModelSignature, document)
    except ContractError as error:
        return None, [str(error), *unknown]
    return signature, [*unknown, *column_problems(signature), *kind_problems(signature)]


def signature_text(problems: Collection[str]) -> str:
    """Return the problems of a signature as one message with the file's name."""
    return f"{SIGNATURE_FILE}: {'; '.join(problems)}"


def _unknown_keys(document: object) -> Iterator[str]:
    if not isinstance(document, Mapping):
        return
    for key in document:
        if key not in SIGNATURE_KEYS:
            yield _unknown("the file has", key, "its", SIGNATURE_KEYS)
    columns = document.get("inputs")
    places: dict[str, list[str]] = {}
    for index, column in enumerate(columns if isinstance(columns, list) else ()):
        if isinstance(column, Mapping):
            name = f" ({column['name']!r})" if isinstance(column.get("name"), str) else ""
            for key in column:
                if key not in COLUMN_KEYS:
                    places.setdefault(key, []).append(f"inputs[{index}]{name}")
    for key, found in places.items():
        yield _unknown(f"{', '.join(found)} {'has' if len(found) == 1 else 'have'}", key, "a column's", COLUMN_KEYS)


def _unknown(where: str, key: str, whose: str, known: Collection[str]) -> str:
    near = get_close_matches(key, known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{where} no key {key!r}{hint}, {whose} keys are {', '.join(known)}"
