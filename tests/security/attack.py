"""Roles as attackers: each makes calls in its own session; an administrator repeats them to show that they are valid."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

from mlops_local.cloud import Cloud

DENIED, MADE = "denied", "made"
_NOT_SENT = "not sent: "
_DENIALS = frozenset({
    "AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException", "UnauthorizedOperation",
    "403", "Forbidden",
})  # fmt: skip
# responses of the embedded cloud for unsupported operations
_UNKNOWN = frozenset({
    "InvalidAction", "UnknownOperationException", "UnknownOperation", "NotImplemented", "UnsupportedOperation", "501",
    "InternalFailure", "NotImplementedException",
})  # fmt: skip


class Attacker:
    """Clients whose credentials are switched between roles: one client per service, however many roles act."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._keys = Credentials("none", "none")
        session = get_session()
        session._credentials = self._keys
        self._session = boto3.Session(botocore_session=session, region_name="us-east-1")
        config = Config(
            retries={"total_max_attempts": 1},
            read_timeout=20,
            s3={"addressing_style": "path"},
            inject_host_prefix=False,
        )
        self.client = cache(
            lambda service: self._session.client(service, endpoint_url=cloud.endpoint_url, config=config)
        )

    @contextmanager
    def acting(self, role: str) -> Iterator[None]:
        """Act as a role: its trust temporarily admits the account, its policies and boundary are as deployed.

        Args:
            role: The role's name.
        """
        iam = self._cloud.client("iam")
        described = iam.get_role(RoleName=role)["Role"]
        anyone = {"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "sts:AssumeRole"}
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=document(anyone))
        taken = self._cloud.client("sts").assume_role(RoleArn=described["Arn"], RoleSessionName="attacker")
        trust = json.dumps(described["AssumeRolePolicyDocument"])
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=trust)
        keys = taken["Credentials"]
        self._keys.access_key, self._keys.secret_key = keys["AccessKeyId"], keys["SecretAccessKey"]
        self._keys.token = keys["SessionToken"]
        try:
            yield
        finally:
            self._keys.access_key = self._keys.secret_key = "none"

    def make_administrator(self) -> str:
        """Create a role with all permissions, and return its name."""
        iam = self._cloud.client("iam")
        nobody = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        iam.create_role(RoleName="administrator", AssumeRolePolicyDocument=document(nobody))
        everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        iam.put_role_policy(RoleName="administrator", PolicyName="all", PolicyDocument=document(everything))
        return "administrator"

    def call(self, service: str, operation: str, arguments: Any) -> str:
        """Make a call; return ``denied``, ``made`` or another error.

        Args:
            service: Name of the client.
            operation: The API's operation.
            arguments: The request.
        """
        client = self.client(service)
        try:
            client._make_api_call(operation, dict(arguments))
        except ClientError as error:
            code = str(error.response["Error"].get("Code", ""))
            return DENIED if code in _DENIALS else code or "unnamed error"
        except BotoCoreError as error:
            return f"{_NOT_SENT}{type(error).__name__}"
        return MADE


def is_unknown(answer: str) -> bool:
    """Return whether the embedded cloud does not support the operation, so that its refusal proves nothing."""
    return answer in _UNKNOWN or answer.startswith(_NOT_SENT)


def document(*statements: dict[str, Any]) -> str:
    """Return a policy of statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
