"""Store of a candidate's answers to golden requests at its rehearsal, for the comparison with later answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import GoldenSpec
from mlops_runtime.refused_calls import NO_OBJECT, Tolerated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REHEARSALS = "rehearsals"  # folder of the answers

Answers = Mapping[str, Sequence[float]]


def answers_key(endpoint: str, fleet: str) -> str:
    """Return the key of the answers of one fleet's candidate.

    Example:
        >>> answers_key("demand-forecast", "demand-forecast-4588cf62")
        'rehearsals/demand-forecast/demand-forecast-4588cf62.json'
    """
    return f"{REHEARSALS}/{endpoint}/{fleet}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRepeat:
    """Request to send the golden requests again while a fleet serves."""

    golden: GoldenSpec
    answers: str  # key of the rehearsal's answers


def golden_repeat(spec: ServingSpec, fleet: str) -> GoldenRepeat | None:
    """Return the plan's request to send the golden requests again while the fleet serves; None without a golden set.

    Also None for an asynchronous endpoint, which does not return responses: its candidates are only rehearsed, on a real-time
    endpoint.
    """
    golden = spec.rollout.golden
    if golden is None or spec.asynchronous is not None:
        return None
    return GoldenRepeat(golden=golden, answers=answers_key(spec.endpoint, fleet))


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedAnswers:
    """Answers in S3."""

    s3: "S3Client"
    bucket: str  # bucket of the answers

    def keep(self, key: str, sha256: str, answers: Answers) -> None:
        """Store the answers to a golden set by request name, with the set's hash."""
        body = canonical_json({"golden": sha256, "answers": answers})
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType="application/json")

    def read(self, key: str, sha256: str) -> dict[str, tuple[float, ...]]:
        """Return the answers to a golden set; empty if none are stored, or those to another set."""
        with Tolerated(*NO_OBJECT):
            found = json.loads(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
            if found["golden"] == sha256:
                return {name: tuple(numbers) for name, numbers in found["answers"].items()}
        return {}
