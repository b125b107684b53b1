"""What SageMaker does in the name of an execution role: temporary credentials, and clients that use them.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html
"""

import functools
import threading
from dataclasses import dataclass, replace
from typing import Any

import boto3
from botocore.config import Config
from ministack.core.responses import get_region

from mlops_local import settings
from mlops_local.iam import authorization
from mlops_local.networks import reach
from mlops_local.sagemaker.errors import validation

PRINCIPAL = "sagemaker.amazonaws.com"
_INFERENCE = ("model", "endpoint", "endpoint-config")
_SESSION = "SageMaker"  # the role session name that SageMaker uses
_LOCK = threading.Lock()  # making a boto3 client is not thread safe, using one is


@dataclass(frozen=True, slots=True)
class Identity:
    """An execution role, and the resource that the service acts for: ``aws:SourceArn`` in the role's trust policy.

    Args:
        role: The role's ARN.
        source: The resource's ARN.
        member: The network that the resource's containers run in. Default: they reach everything.
        purpose: What the service does itself in the role's name, from its own network. Default: what containers do.
    """

    role: str
    source: str
    member: reach.Member | None = None
    purpose: str = ""

    def check(self) -> None:
        """Refuse a role that SageMaker may not assume.

        Raises:
            ServiceError: ``ValidationException`` in AWS's words.
        """
        # claim: job-role-trusts-sagemaker
        try:
            self._session()
        except authorization.AccessDeniedError as error:
            raise validation(
                f"Could not assume role {self.role}. Please ensure that the role exists and allows principal "
                f"'{PRINCIPAL}' to assume the role."
            ) from error

    def environment(self) -> dict[str, str]:
        """Return credentials of the role as environment variables; they do not expire, as the service renews them."""
        session = self._session()
        return session.environment() | self._join(session)

    def client(self, service: str) -> Any:
        """Return a boto3 client of the embedded cloud that acts as the role.

        Args:
            service: boto3's name of the service.
        """
        session = self._session()
        self._join(session)
        with _LOCK:
            return _client(service, get_region(), session.access_key, session.secret_key, session.token)

    def of_service(self) -> "Identity":
        """Return the role as SageMaker uses it from its own network: for log lines, metrics, alarms and notices."""
        # claim: sagemaker-logs-from-its-own-network
        return replace(self, member=None, purpose="service")

    def _session(self) -> authorization.Session:
        return authorization.assume(
            self.role,
            service=PRINCIPAL,
            source_arn=_source(self.source),
            name=_SESSION,
            # two models of one role have the same source, and each its network
            purpose=f"{self.source} {self.purpose}",
        )

    def _join(self, session: authorization.Session) -> dict[str, str]:
        return {} if self.member is None else reach.join(session.access_key, self.member)


def _source(arn: str) -> str:
    """Return what SageMaker sends: for inference an ARN that ends with an asterisk, which no ARN of a model matches."""
    # claim: inference-sends-an-asterisk
    prefix, _, resource = arn.rpartition(":")
    return f"{prefix}:*" if resource.partition("/")[0] in _INFERENCE else arn


@functools.cache
def _client(service: str, region: str, key: str, secret: str, token: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=settings.endpoint_url(),
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"mode": "standard", "total_max_attempts": 3}, max_pool_connections=16),
    )
