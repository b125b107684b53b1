"""Records of SageMaker's data capture and ground truth files, one JSON object per line.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html
and https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

# Prefix of the inference ids of the platform's own calls, which never get labels. A call of another client with such an
# id counts as an ordinary call: only announced calls are excluded.
SYNTHETIC_PREFIX = "mlops-synthetic-"
_SYNTHETIC = re.compile(r"mlops-synthetic-\d{1,6}-([0-9a-f]{32})")
# longest time between an announcement and its calls
ANNOUNCED_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedPayload:
    """One side of a captured call. ``data`` is the payload as text, or base64 for content types that are not listed as text."""

    content_type: str = field(metadata={"name": "observedContentType"})
    mode: Literal["INPUT", "OUTPUT"]
    data: str
    encoding: Literal["CSV", "JSON", "BASE64"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedCall:
    """Input and output of a call; a side that the capture options exclude is absent."""

    input: CapturedPayload | None = field(default=None, metadata={"name": "endpointInput"})
    output: CapturedPayload | None = field(default=None, metadata={"name": "endpointOutput"})


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMetadata:
    """Identity of a captured call: ``inferenceId`` is assigned by the caller, ``eventId`` by SageMaker."""

    event_id: str = field(metadata={"name": "eventId"})
    inference_id: str | None = field(default=None, metadata={"name": "inferenceId"})
    inference_time: str | None = field(default=None, metadata={"name": "inferenceTime"})

    @property
    def join_key(self) -> str:
        """Id that ground truth is joined on: the inference id if there is one, else the event id."""
        return self.event_id if self.inference_id is None else self.inference_id


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRecord:
    """One line of a capture file."""

    capture: CapturedCall = field(metadata={"name": "captureData"})
    event: EventMetadata = field(metadata={"name": "eventMetadata"})
    version: str = field(default="0", metadata={"name": "eventVersion"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundTruthData:
    """The label of one record, or the labels of all rows of one request as CSV lines in row order."""

    data: str
    encoding: Literal["CSV"] = "CSV"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTimes:
    """When each label of a record became known and was written. One entry applies to all rows; an empty entry: no label."""

    known: tuple[str, ...]
    written: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundTruthRecord:
    """One line of a ground truth file. ``times`` is an extension: labels without it became known when they were uploaded."""

    truth: GroundTruthData = field(metadata={"name": "groundTruthData"})
    event: EventMetadata = field(metadata={"name": "eventMetadata"})
    version: str = field(default="0", metadata={"name": "eventVersion"})
    times: LabelTimes | None = field(default=None, metadata={"name": "labelTimes"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedCall:
    """Row ids of a call, in row order, with which the sender assigns labels to rows."""

    inference_id: str
    ids: tuple[str, ...]
    format: Literal["mlops.named-call/1"] = "mlops.named-call/1"


def capture_key(prefix: str, endpoint: str, variant: str, at: datetime, file_id: str) -> str:
    """Return ``<prefix>/<endpoint>/<variant>/yyyy/mm/dd/hh/<file_id>.jsonl`` for the UTC hour of the call.

    Example:
        >>> from datetime import UTC, datetime
        >>> capture_key("capture", "demand-forecast", "AllTraffic", datetime(2017, 8, 1, 9, 30, tzinfo=UTC), "a1")
        'capture/demand-forecast/AllTraffic/2017/08/01/09/a1.jsonl'
    """
    return f"{prefix}/{endpoint}/{variant}/{at.astimezone(UTC):%Y/%m/%d/%H}/{file_id}.jsonl"


def synthetic_id(number: int, nonce: str) -> str:
    """Return the inference id of a call that was announced with a nonce.

    Args:
        number: Number of the call within the announcement.
        nonce: 32 random hexadecimal digits.

    Example:
        >>> synthetic_id(1, "0" * 32)
        'mlops-synthetic-1-00000000000000000000000000000000'
    """
    return f"{SYNTHETIC_PREFIX}{number}-{nonce}"


def nonce_of(inference_id: str) -> str | None:
    """Return the nonce in a synthetic inference id, under which the call must have been announced; None for any other id."""
    found = _SYNTHETIC.fullmatch(inference_id)
    return None if found is None else found[1]


def announcement_prefix(endpoint: str) -> str:
    """Return the key prefix of an endpoint's announcements of synthetic calls, in the artifacts bucket."""
    return f"synthetic/{endpoint}/"


def announcement_key(endpoint: str, at: datetime, calls: int, nonce: str) -> str:
    """Return the key of an announcement: time, maximum number of calls and nonce, so that listing the keys is enough.

    Args:
        endpoint: Endpoint that gets the calls.
        at: Time of the announcement.
        calls: Maximum number of calls.
        nonce: Nonce at the end of their inference ids.

    Example:
        >>> from datetime import UTC, datetime
        >>> announcement_key("demand-forecast", datetime(2017, 8, 1, 9, 30, tzinfo=UTC), 5, "0" * 32)
        'synthetic/demand-forecast/2017/08/01/09/3000-5-00000000000000000000000000000000.json'
    """
    return f"{announcement_prefix(endpoint)}{at.astimezone(UTC):%Y/%m/%d/%H/%M%S}-{calls}-{nonce}.json"


def ground_truth_key(prefix: str, endpoint: str, at: datetime, file_id: str) -> str:
    """Return ``<prefix>/<endpoint>/yyyy/mm/dd/hh/<file_id>.jsonl`` for the UTC hour in which labels were collected."""
    return f"{prefix}/{endpoint}/{at.astimezone(UTC):%Y/%m/%d/%H}/{file_id}.jsonl"


def named_calls_prefix(endpoint: str) -> str:
    """Return the key prefix of the row ids that clients record for their calls to an endpoint, in the capture bucket."""
    return f"ids/{endpoint}/"


def named_calls_key(endpoint: str, at: datetime, file_id: str) -> str:
    """Return ``ids/<endpoint>/yyyy/mm/dd/hh/<file_id>.jsonl`` for the UTC hour in which the calls were made."""
    return f"{named_calls_prefix(endpoint)}{at.astimezone(UTC):%Y/%m/%d/%H}/{file_id}.jsonl"
