"""API of the hosted console behind API Gateway: users signed in with Cognito act in their own sessions of the people's roles."""

import base64
from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import Any

import boto3

from mlops_runtime.cloud_connection import CloudConnection
from mlops_runtime.console.api import ConsoleApi
from mlops_runtime.console.http_message import HttpAnswer, HttpRequest, refused
from mlops_runtime.console.page_files import HEADERS
from mlops_runtime.console.route import Role
from mlops_runtime.console.signed_in_person import ClaimsError, Person, person
from mlops_runtime.console.taken_role import TakenRole, take_role

_MAX_BODY = 64 * 1024
_PEOPLE = 200  # users whose sessions and writes are cached
_ONCE = ("content-type", "idempotency-key", "if-none-match")  # headers that the API reads


class HostedConsole:
    """The API of one account for users whom an API Gateway authorizer has authenticated.

    The function's own credentials are only used to assume roles, with ``sts:AssumeRole`` and ``sts:SetSourceIdentity``. The trust
    policy of each role must allow both to the function's role.

    Args:
        roles: ARN of the IAM role by kind; the reader role is required. Missing kinds are not offered.
        connection: The account. Default: from the environment.

    Raises:
        ValueError: Without a reader role.
    """

    def __init__(self, *, roles: Mapping[Role, str], connection: CloudConnection | None = None) -> None:
        if Role.READER not in roles:
            raise ValueError(f"roles must include one for readers, got {', '.join(roles) or 'none'}")
        self._roles = {role: roles[role] for role in Role if role in roles}
        self._cloud = connection or CloudConnection(session=boto3.Session())
        self._lock = Lock()
        self._people: OrderedDict[tuple[str, tuple[Role, ...]], ConsoleApi] = OrderedDict()

    def answer(self, event: Mapping[str, Any]) -> dict[str, object]:
        """Return the response to a request.

        Args:
            event: Event of a REST API's proxy integration, with the claims of a Cognito authorizer.

        See: https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
        """
        found = self._answer(event)
        return {
            "statusCode": found.status,
            "headers": {"Cache-Control": "no-store", **HEADERS, **found.headers},
            "body": found.body.decode(),
            "isBase64Encoded": False,
        }

    def _answer(self, event: Mapping[str, Any]) -> HttpAnswer:
        try:
            who = person(event.get("requestContext") or {}, offered=tuple(self._roles))
        except ClaimsError as error:
            return refused(error.status, "not signed in" if error.status == 401 else "no role", error.detail)
        given = {name.lower(): values for name, values in (event.get("multiValueHeaders") or {}).items()}
        doubled = [name for name in _ONCE if len(given.get(name, ())) > 1]
        if doubled:
            return refused(400, "bad request", f"these headers were sent more than once: {', '.join(doubled)}")
        text = event.get("body") or ""
        body = base64.b64decode(text) if event.get("isBase64Encoded") else text.encode("utf-8", "surrogatepass")
        if len(body) > _MAX_BODY:
            return refused(413, "bad request", f"a body has at most {_MAX_BODY} bytes, got {len(body)}")
        return self._api(who).answer(
            HttpRequest(
                method=event["httpMethod"],
                path=event["path"],
                query={n: values[0] for n, values in (event.get("multiValueQueryStringParameters") or {}).items()},
                headers={name: values[0] for name, values in given.items()},
                body=body,
                signed_in=who.signed_in,
            )
        )

    def _api(self, who: Person) -> ConsoleApi:
        """Return a user's API for their roles, with its cached sessions and writes."""
        key = who.name, who.roles
        with self._lock:
            found = self._people.pop(key, None) or self._new_api(who)
            self._people[key] = found
            while len(self._people) > _PEOPLE:
                self._people.popitem(last=False)
        return found

    def _new_api(self, who: Person) -> ConsoleApi:
        taken: dict[Role, TakenRole] = {}
        taking = Lock()

        def connect(role: Role) -> TakenRole:
            with taking:
                if role not in taken:
                    taken[role] = take_role(self._cloud, self._roles[role], session=who.session, is_source=True)
                return taken[role]

        return ConsoleApi(connect, roles=who.roles)
