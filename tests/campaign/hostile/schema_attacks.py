"""Requests that schemathesis generates from an API's own document: each violates its schema; all checks run on the responses."""

from typing import Any, Protocol

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from requests.auth import AuthBase
from schemathesis.core.failures import FailureGroup
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode
from tests.campaign.hostile.wire import Attack, Reply

Sent = list[tuple[Attack, list[Reply]]]


class Described(Protocol):
    """An API with its document."""

    @property
    def url(self) -> str:
        """Address of the API."""

    def document(self) -> dict[str, Any]:
        """Return the OpenAPI document."""

    def sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Give a request the rights of a known caller."""


class _Caller(AuthBase):
    def __init__(self, api: Described) -> None:
        self._api = api

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return self._api.sign(request)


def send_all(api: Described, *, seeded: int, most: int) -> tuple[Sent, list[str]]:
    """Send requests to each operation with a body; return them with their responses, and the findings of the checks.

    Args:
        api: The API.
        seeded: Seed of the requests.
        most: Maximum number of requests over all operations.
    """
    schema = schemathesis.openapi.from_dict(api.document())
    operations = [found.ok() for found in schema.get_all_operations()]
    taking = [operation for operation in operations if operation.body]
    sent: Sent = []
    problems: list[str] = []

    def ask(case: schemathesis.Case) -> None:
        # a caller without rights is one of the attacks, so no rights may be added
        spoilt = {place for place, part in case.meta.components.items() if part.mode is GenerationMode.NEGATIVE}
        caller = None if ParameterLocation.HEADER in spoilt else _Caller(api)
        answer = case.call(base_url=api.url, auth=caller, allow_redirects=False)
        request = answer.request
        body = request.body if isinstance(request.body, bytes) else str(request.body or "").encode()
        attack = Attack(kind="schema", raw=f"{request.method} {request.url}\n".encode() + body)
        headers = {name.lower(): ", ".join(values) for name, values in answer.headers.items()}
        sent.append((attack, [Reply(answer.status_code, headers, answer.content)]))
        try:
            case.validate_response(answer, transport_kwargs={"auth": caller})
        except FailureGroup as group:
            problems.extend(f"{failure.title}: {failure.message}; {attack.raw[:500]!r}" for failure in group.exceptions)

    limits = settings(
        max_examples=-(-most // len(taking)), database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    for operation in taking:
        strategy = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
        seed(seeded)(limits(given(case=strategy)(ask)))()
    return sent[:most], problems
