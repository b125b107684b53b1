"""Cells of the fault campaign on the embedded cloud: one call of the Deploy machine, one kind of fault, how long it stays."""

from dataclasses import asdict, dataclass
from typing import Any

# names that Step Functions gives to errors of the two kinds of integration
_THROTTLED = {
    "sagemaker": "SageMaker.ThrottlingException",
    "lambda": "Lambda.TooManyRequestsException",
    "dynamodb": "DynamoDB.ProvisionedThroughputExceededException",
    "cloudwatch": "CloudWatch.ThrottlingException",
    "events": "EventBridge.ThrottlingException",
}
_FAILED = {
    "sagemaker": "SageMaker.SageMakerException",
    "lambda": "Lambda.ServiceException",
    "dynamodb": "DynamoDB.InternalServerErrorException",
    "cloudwatch": "CloudWatch.CloudWatchException",
    "events": "EventBridge.InternalException",
}
FOR_GOOD = 10_000
# integration, and what its arguments hold where two calls of the machine share one
CALLS = (
    ("dynamodb:updateItem", "SET #owner"),
    ("dynamodb:updateItem", "REMOVE #owner"),
    ("lambda:invoke", "RolloutPreflight"),
    ("lambda:invoke", "RolloutRecord"),
    ("sagemaker:createModel", ""),
    ("sagemaker:createEndpointConfig", ""),
    ("cloudwatch:putMetricAlarm", ""),
    ("sagemaker:updateEndpoint", ""),
    ("sagemaker:describeEndpoint", ""),
    ("cloudwatch:describeAlarms", ""),
    ("cloudwatch:getMetricStatistics", ""),
    ("cloudwatch:deleteAlarms", ""),
    ("sagemaker:deleteEndpointConfig", ""),
    ("sagemaker:deleteModel", ""),
    ("events:putEvents", ""),
)
KINDS = ("throttle", "5xx", "timeout", "reset", "access denied", "validation", "latency", "stop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell. ``count`` calls meet the fault; ``after`` means that the work was done and the answer got lost."""

    integration: str
    match: str
    kind: str
    count: int
    after: bool

    @property
    def key(self) -> str:
        """How the cell is known in results."""
        stays = "for good" if self.count == FOR_GOOD else f"{self.count}x"
        return " ".join([self.integration, self.match, self.kind, stays, "lost" if self.after else ""]).strip()

    def fault(self) -> dict[str, Any]:
        """Return it as the embedded cloud takes it."""
        service = self.integration.partition(":")[0]
        errors = {
            "throttle": (_THROTTLED[service], "Rate exceeded"),
            "5xx": (_FAILED[service], "An internal error occurred (Status Code: 500)"),
            "timeout": ("States.Timeout", ""),
            "reset": (f"{_FAILED[service].partition('.')[0]}.SdkClientException", "Connection reset"),
            "access denied": (_FAILED[service], "User is not authorized (Status Code: 403)"),
            "validation": (_FAILED[service], "1 validation error detected (Status Code: 400)"),
            "latency": (None, ""),
            "stop": ("stop", ""),
        }
        error, cause = errors[self.kind]
        fault = {"integration": self.integration, "match": self.match, "error": error, "cause": cause}
        return fault | {"count": self.count, "after": self.after, "seconds": 50.0 if self.kind == "latency" else 0.0}

    def as_dict(self) -> dict[str, Any]:
        """Return it for the results."""
        return asdict(self) | {"key": self.key}


def cells() -> list[Cell]:
    """Return every cell, those of one call apart from each other, so that any beginning is a fair sample."""
    found = []
    for kind in KINDS:
        lost = (False, True) if kind in ("5xx", "timeout", "reset", "stop") else (False,)
        stays = (2, FOR_GOOD) if kind in ("throttle", "5xx", "access denied") else (1 if kind == "stop" else 2,)
        for count in stays:
            for after in lost:
                found += [
                    Cell(integration=name, match=match, kind=kind, count=count, after=after) for name, match in CALLS
                ]
    return found
