"""API of the console: handles requests; every error is a problem document (RFC 9457) with its fix."""

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.business_unit.deployed_entries import NotDeployedError
from mlops_runtime.cloud_connection import EmbeddedCloudError
from mlops_runtime.console.fleet_page import Fleet, FleetPage
from mlops_runtime.console.http_message import (
    JSON,
    Call,
    Connection,
    HttpAnswer,
    HttpRequest,
    RefusedRequestError,
    answer,
    refused,
)
from mlops_runtime.console.openapi import document
from mlops_runtime.console.route import KEY, ROOT, Role, Route
from mlops_runtime.console.route_table import ROUTES
from mlops_runtime.console.write_requests import read_body
from mlops_runtime.refused_calls import DENIED, refusal
from mlops_runtime.registry.package_approval import person_of

_FLEET = "readFleet"
_KEYS = 1000  # newest writes whose responses are cached
_RECENT = timedelta(minutes=15)  # oldest sign-in for operations that require a recent one
_TITLES = {
    400: "bad request",
    401: "sign-in too old",
    403: "not allowed",
    404: "not found",
    405: "method not allowed",
    409: "changed since",
    415: "not JSON",
    422: "not valid",
    502: "cloud refused",
    503: "cloud unreachable",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Me:
    """The caller, the person in the session's name, the cloud's time, and the operations that the available roles allow.

    ``clock_scale`` is the speed of the embedded cloud's clock, in cloud seconds per real second; null on AWS.
    """

    caller: str
    person: str
    roles: tuple[Role, ...]
    operations: tuple[str, ...]
    now: datetime
    clock_scale: float | None


class ConsoleApi:
    """The API on one account.

    Args:
        connect: Returns the connection for a role's operations.
        roles: Available roles. Default: all.
        fleet: Accounts and Regions whose models the first page shows. Default: the models of this account.
    """

    def __init__(
        self,
        connect: Callable[[Role], Connection],
        *,
        roles: tuple[Role, ...] = tuple(Role),
        fleet: Fleet | None = None,
    ) -> None:
        self._connect, self._roles, self._fleet = connect, roles, fleet
        me = Route(
            method="GET",
            path="/me",
            operation="me",
            summary="Return the caller and the allowed operations",
            act=self._me,
        )
        fleets = Route(
            method="GET",
            path="/fleet",
            operation=_FLEET,
            summary="Read the models of several accounts and Regions",
            act=self._fleet_page,
        )
        self.routes = (me, fleets, *ROUTES)
        self._writing, self._done = Lock(), OrderedDict[str, tuple[str, HttpAnswer]]()

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Return the response to a request; errors become problem documents."""
        try:
            return self._answer(request)
        except RefusedRequestError as error:
            return refused(error.status, _TITLES[error.status], error.detail, error.problems)
        except NotDeployedError as error:
            return refused(404, _TITLES[404], str(error))
        except ClientError as error:
            status = 403 if error.response["Error"]["Code"] in DENIED else 502
            return refused(status, _TITLES[status], refusal(error.response["Error"], error.operation_name))
        except (BotoCoreError, EmbeddedCloudError) as error:
            return refused(503, _TITLES[503], " ".join(str(error).split()))

    def _answer(self, request: HttpRequest) -> HttpAnswer:
        if request.path == f"{ROOT}/openapi.json" and request.method == "GET":
            return answer(200, document(self.routes), seen=request.headers.get("if-none-match"))
        matches = [(route, found) for route in self.routes if (found := route.match(request.path)) is not None]
        if not matches:
            raise RefusedRequestError(404, "no operation has this path; GET /api/v1/openapi.json lists them")
        chosen = next(((route, found) for route, found in matches if route.method == request.method), None)
        if chosen is None:
            allowed = ", ".join(route.method for route, _ in matches)
            return refused(405, _TITLES[405], f"this path allows {allowed}", headers={"Allow": allowed})
        route, names = chosen
        if route.role not in self._roles:
            had = ", ".join(self._roles)
            raise RefusedRequestError(
                403, f"{route.operation} requires the role {route.role.value}; this console has {had}"
            )
        if route.is_grave and request.signed_in is not None and request.signed_in > _RECENT:
            minutes = int(_RECENT.total_seconds() / 60)
            detail = f"{route.operation} requires a sign-in within the last {minutes} minutes; sign in again and retry"
            # https://www.rfc-editor.org/rfc/rfc9470
            challenge = f'Bearer error="insufficient_user_authentication", max_age={60 * minutes}'
            return refused(401, _TITLES[401], detail, headers={"WWW-Authenticate": challenge})
        for each in route.query:
            value = request.query.get(each.name)
            if (value is None and each.is_required) or (value is not None and re.search(each.pattern, value) is None):
                raise RefusedRequestError(422, f"{each.name} must be {each.description}, got {value!r}")
        if route.takes is None:
            return self._done_call(route, names, request, None)
        return self._write(route, names, request, route.takes)

    def _write(self, route: Route, names: Mapping[str, str], request: HttpRequest, takes: type) -> HttpAnswer:
        """Run a write once per idempotency key: a repeated request gets the first response, another one with its key is refused.

        Writes run one at a time, so that each sees the effects of those before it.
        """
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
            raise RefusedRequestError(415, f"the body must be {JSON}")
        key = request.headers.get("idempotency-key", "")
        if re.fullmatch(KEY, key) is None:
            raise RefusedRequestError(
                400, "Idempotency-Key must be 8 to 64 letters, digits, - and _: a new one for each write"
            )
        body: object = read_body(takes, request.body)
        digest = hashlib.sha256(b"\0".join((route.operation.encode(), request.path.encode(), request.body))).hexdigest()
        with self._writing:
            before = self._done.get(key)
            if before is not None and before[0] != digest:
                raise RefusedRequestError(409, f"Idempotency-Key {key} was used for another request; use a new one")
            if before is not None:
                return before[1]
            found = self._done_call(route, names, request, body)
            if json.loads(found.body).get("is_final", True):
                self._done[key] = digest, found
            while len(self._done) > _KEYS:
                self._done.popitem(last=False)
        return found

    def _done_call(self, route: Route, names: Mapping[str, str], request: HttpRequest, body: object) -> HttpAnswer:
        cloud = self._connect(route.role)
        call = Call(
            cloud=cloud,
            reader=self._connect(Role.READER),
            now=cloud.now().replace(microsecond=0),
            names=names,
            query=request.query,
            body=body,
            headers=request.headers,
        )
        return answer(route.status, route.act(call), seen=request.headers.get("if-none-match"))

    def _fleet_page(self, call: Call) -> FleetPage:
        if self._fleet is None:
            summary = (
                "this console shows one account and Region; for a fleet, run: mlops console --environments fleet.json"
            )
            raise RefusedRequestError(404, summary)
        return self._fleet.page(call)

    def _me(self, call: Call) -> Me:
        caller, clock = call.caller, call.cloud.clock()
        return Me(
            caller=caller,
            person=person_of(caller),
            roles=self._roles,
            operations=tuple(
                route.operation
                for route in self.routes
                if route.role in self._roles and (route.operation != _FLEET or self._fleet is not None)
            ),
            now=call.now,
            clock_scale=None if clock is None else clock.scale,
        )
