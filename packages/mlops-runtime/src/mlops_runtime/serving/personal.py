"""Personal fields leave the client as keyed hashes or not at all: data capture keeps payloads whole, so nothing later could help.

A keyed hash and not a plain one: there are few households and fewer birthdays, and whoever reads captures could hash them all.

See: https://doi.org/10.17487/RFC2104 (HMAC)
"""

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from typing import Any

from mlops_runtime.contracts.serving import PersonalSpec
from mlops_runtime.serving.field_names import is_readable, resembles

_SEPARATOR = "\x1f"


class PersonalDataError(ValueError):
    """A request cannot be protected, so it is not sent."""


class Protector:
    """Protects requests to one endpoint.

    Args:
        spec: Which fields are hashed, which withheld.
        key: Key of the hash, at least 16 bytes; not needed where nothing is hashed.

    Raises:
        PersonalDataError: If fields are to be hashed and the key is too short.

    Example:
        >>> protector = Protector(PersonalSpec(hashed=("household",), withheld=("email",)), key=b"0" * 32)
        >>> row = protector.protect({"household": 7, "email": "a@b.example", "price": 2.5})
        >>> len(row["household"]), sorted(row)
        (64, ['household', 'price'])
    """

    def __init__(self, spec: PersonalSpec, *, key: bytes = b"") -> None:
        if spec.hashed and len(key) < 16:
            raise PersonalDataError(
                f"the key of the hash must have at least 16 bytes, got {len(key)}; deploy the stack again, which makes one"
            )
        self._spec, self._key = spec, key

    def protect(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row to send: the same value of the same field gives the same hash, a null stays null.

        Numbers that are equal hash alike: 7 and 7.0 are one household.

        Args:
            row: Value by field.

        Raises:
            PersonalDataError: If a field's name reads like a personal one, or is not of ASCII, and the endpoint does not declare it
                as plain; or if a field holds an object or a list, in which nothing is found.
        """
        withheld = self._spec.withheld
        problems = [*self._hidden(row)]
        if problems:
            raise PersonalDataError("; ".join(problems))
        return {
            name: self._hash(name, value) if name in self._spec.hashed else value
            for name, value in row.items()
            if name not in withheld
        }

    def protect_body(self, body: bytes, content_type: str) -> bytes:
        """Return a request body to send.

        Args:
            body: JSON with ``instances``, each an object.
            content_type: Its content type.

        Raises:
            PersonalDataError: If fields have no names there: CSV, arrays, or anything that is not JSON; or as of `protect`.
        """
        names = ", ".join((*self._spec.hashed, *self._spec.withheld))
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise PersonalDataError(
                f"fields {names} of this endpoint are personal, and {content_type} has no names to find them by; send "
                'application/json, {"instances": [{"name": value}]}'
            )
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise PersonalDataError(f"the request is not JSON, so personal fields cannot be found: {error}") from error
        rows = document.get("instances") if isinstance(document, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise PersonalDataError(
                f"fields {names} of this endpoint are personal, and can be found in objects only; send "
                '{"instances": [{"name": value}]}'
            )
        if set(document) != {"instances"}:
            others = ", ".join(sorted(map(repr, set(document) - {"instances"})))
            raise PersonalDataError(f"a request with personal fields holds instances and nothing else, got {others}")
        return json.dumps({"instances": [self.protect(row) for row in rows]}).encode()

    def _hidden(self, row: Mapping[str, Any]) -> Iterator[str]:
        personal = (*self._spec.hashed, *self._spec.withheld)
        for name, value in row.items():
            if name in personal:
                continue
            known = next((each for each in personal if resembles(name, each)), None)
            if name not in self._spec.plain and known is not None:
                yield (
                    f"field {name!r} reads like {known!r}, which is personal, and would be sent as it is; write {known!r}, or "
                    "declare it as plain: PersonalData(plain=...)"
                )
            elif name not in self._spec.plain and not is_readable(name):
                yield (
                    f"field {name!a} must be of printable ASCII where fields are personal ({', '.join(personal)}), as other "
                    "letters look alike; rename it, or declare it as plain: PersonalData(plain=...)"
                )
            elif isinstance(value, Mapping | list | tuple):
                kind = "an object" if isinstance(value, Mapping) else "a list"
                yield (
                    f"field {name!r} must be one value where fields are personal ({', '.join(personal)}), got {kind}, "
                    "in which none is found; send its parts as fields of their own"
                )

    def _hash(self, name: str, value: Any) -> str | None:
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        return hmac.new(self._key, f"{name}{_SEPARATOR}{text}".encode(), hashlib.sha256).hexdigest()
