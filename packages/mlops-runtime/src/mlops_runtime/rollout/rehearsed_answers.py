"""What a candidate answered to golden requests before it got traffic, kept for the time when it is asked again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mlops_runtime.contracts import canonical_json, to_dict
from mlops_runtime.contracts.rollout import ServingSpec

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REHEARSALS = "rehearsals"  # folder of what candidates answered
# S3 returns it for a missing object to a caller that may not list
_MISSING = ("NoSuchKey", "AccessDenied")

Answers = Mapping[str, Sequence[float]]


def answers_key(endpoint: str, fleet: str) -> str:
    """Return where the answers of one fleet's candidate are kept.

    Example:
        >>> answers_key("demand-forecast", "demand-forecast-4588cf62")
        'rehearsals/demand-forecast/demand-forecast-4588cf62.json'
    """
    return f"{REHEARSALS}/{endpoint}/{fleet}.json"


def asked_again(spec: ServingSpec, fleet: str) -> dict[str, object]:
    """Return what a plan says of golden requests that the fleet answers again while it serves.

    An asynchronous endpoint does not answer a call: its candidates are rehearsed on one that does, and not asked again.

    Args:
        spec: How the endpoint is served; without golden requests nothing is asked.
        fleet: Name of the new fleet's config.
    """
    golden = spec.rollout.golden
    if golden is None or spec.asynchronous is not None:
        return {}
    return {"golden": to_dict(golden), "answers": answers_key(spec.endpoint, fleet)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedAnswers:
    """Keeps answers in S3.

    Args:
        s3: Client.
        bucket: Where they are kept.
    """

    s3: "S3Client"
    bucket: str

    def keep(self, key: str, sha256: str, answers: Answers) -> None:
        """Write the answers to a golden set, by the set's hash and each request's name."""
        body = canonical_json({"golden": sha256, "answers": answers})
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType="application/json")

    def read(self, key: str, sha256: str) -> dict[str, tuple[float, ...]]:
        """Return the answers to a golden set; empty where none are kept, or those to another set."""
        try:
            found = json.loads(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return {}
            raise
        if found["golden"] != sha256:
            return {}
        return {name: tuple(numbers) for name, numbers in found["answers"].items()}
