"""Administrator of a cluster for as long as one piece of work takes, with a record of both ends.

Namespaces, roles and the settings of the cluster's own network are beyond any namespaced right. Whoever makes them holds an access
entry with ``AmazonEKSClusterAdminPolicy`` that is made before the work and removed after it, whatever comes out.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.contracts import canonical_json

_LOG = logging.getLogger(__name__)
_EXISTS, _MISSING = "ResourceInUseException", "ResourceNotFoundException"
_REMOVALS = 5
_WAIT = 2.0  # seconds until it is tried again


class AdminError(RuntimeError):
    """The access of an administrator could not be taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminRecord:
    """One end of an administrator's access: who, where, with which policy, for which request, and when AWS says it was."""

    cluster: str
    principal: str
    policy: str
    request: str
    event: Literal["GRANTED", "REMOVED"]
    at: str
    format: Literal["mlops.admin-access/1"] = "mlops.admin-access/1"


class AdminAccess:
    """Access of an administrator for one principal.

    Args:
        eks: boto3 client of EKS.
        s3: boto3 client of S3.
        principal: ARN of the role, the function's own.
        policy: ARN of the access policy.
        bucket: Bucket of audit records.
        sleep: Waits. Default: ``time.sleep``.
    """

    def __init__(
        self,
        *,
        eks: Any,
        s3: Any,
        principal: str,
        policy: str,
        bucket: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._eks, self._s3, self._sleep = eks, s3, sleep
        self._principal, self._policy, self._bucket = principal, policy, bucket

    @contextmanager
    def during(self, cluster: str, request: str) -> Iterator[None]:
        """Hold the access while a block runs, and take it away at its end, also where it failed.

        An entry that is there already is what an attempt left that was killed: the role is the function's own, and nobody else
        gives it any. It is used and removed.

        Args:
            cluster: Name of the cluster.
            request: Id of what asks for it.

        Raises:
            AdminError: If the entry is still there at the end.
        """
        since = self._create(cluster)
        try:
            self._eks.associate_access_policy(
                clusterName=cluster,
                principalArn=self._principal,
                policyArn=self._policy,
                accessScope={"type": "cluster"},
            )
            # without a record nobody is administrator
            self._record(cluster, request, "GRANTED", since)
            yield
        finally:
            until = self._remove(cluster)
            self._record(cluster, request, "REMOVED", until)

    def _create(self, cluster: str) -> str:
        """Make the entry, which alone allows nothing yet, and return since when it is there."""
        try:
            answer = self._eks.create_access_entry(clusterName=cluster, principalArn=self._principal, type="STANDARD")
        except ClientError as error:
            if error.response["Error"]["Code"] != _EXISTS:
                raise
            _LOG.warning("an access entry of %s was left by an attempt before", self._principal)
            answer = self._left(cluster)
        except BotoCoreError:
            # an answer that got lost: the entry may be there
            self._remove(cluster)
            raise
        return str(answer["accessEntry"]["createdAt"].isoformat())

    def _left(self, cluster: str) -> Mapping[str, Any]:
        """Describe the entry that an attempt has left, with its policy; where that cannot be said, it goes all the same."""
        try:
            found: Mapping[str, Any] = self._eks.describe_access_entry(
                clusterName=cluster, principalArn=self._principal
            )
        except (BotoCoreError, ClientError):
            self._remove(cluster)
            raise
        return found

    def _remove(self, cluster: str) -> str:
        """Remove the entry and return when; deleting it takes its policies with it."""
        problem: Exception | None = None
        for _ in range(_REMOVALS):
            try:
                answer = self._eks.delete_access_entry(clusterName=cluster, principalArn=self._principal)
            except (BotoCoreError, ClientError) as error:
                if isinstance(error, ClientError) and error.response["Error"]["Code"] == _MISSING:
                    return _date(error.response)
                problem = error
                _LOG.exception("the access entry of %s could not be removed", self._principal)
                self._sleep(_WAIT)
            else:
                return _date(answer)
        raise AdminError(
            f"THE ACCESS ENTRY OF {self._principal} ON {cluster} IS STILL THERE: {problem}; remove it with: aws eks "
            f"delete-access-entry --cluster-name {cluster} --principal-arn {self._principal}"
        )

    def _record(self, cluster: str, request: str, event: Literal["GRANTED", "REMOVED"], at: str) -> None:
        record = AdminRecord(
            cluster=cluster, principal=self._principal, policy=self._policy, request=request, event=event, at=at
        )
        _LOG.info("%s", canonical_json(record).decode())
        self._s3.put_object(
            Bucket=self._bucket, Key=f"access/{cluster}/{request}-{event.lower()}.json", Body=canonical_json(record)
        )


def _date(answer: Mapping[str, Any]) -> str:
    """When AWS answered, by its own clock."""
    return str(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", ""))
