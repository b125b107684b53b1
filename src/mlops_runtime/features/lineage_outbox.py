"""Lineage events are kept first and delivered then: nobody who builds waits for, or fails with, whoever collects lineage.

``<location>/events/<run>-<state>.json`` is the event, ``<location>/delivered/<run>-<state>.json`` says when it was taken. What has
no second object is pending, and every later delivery tries it again. Nothing is deleted or replaced, so that the location may be
locked. Delivery is at least once; events of one run and state are the same event.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from openlineage.client.transport.file import FileConfig, FileTransport
from openlineage.client.transport.http import HttpConfig, HttpTransport
from requests import HTTPError

from mlops_runtime.features.open_lineage import Event

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_STATES = ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER")
# statuses that say nothing about the event itself: timeout of the request, too many of them
_TRY_LATER = (408, 429)
_RETRIES = 2


class LineageOutboxError(Exception):
    """An event could not be kept, or the outbox could not be read."""


class Transport(Protocol):
    """What takes an event or raises ``OSError`` or ``RuntimeError``, as OpenLineage's transports do."""

    def emit(self, event: Any) -> Any:
        """Deliver an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Names of the events that were taken, and those that were not with the reason; these stay pending.

    ``untried`` were not sent because the receiver did not answer for one before them.
    """

    delivered: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    untried: tuple[str, ...] = ()

    @property
    def problem(self) -> str | None:
        """What is to be said: how many wait and why; ``None`` if none does."""
        if not self.failed:
            return None
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self.failed)
        return f"{len(self.failed) + len(self.untried)} lineage events wait for the next delivery: {reasons}"


class LineageOutbox:
    """Keeps events in a folder or below an ``s3://`` prefix.

    Args:
        location: The folder, or the prefix.
        s3: A boto3 client, for a prefix.

    Example:
        >>> import tempfile
        >>> outbox = LineageOutbox(tempfile.mkdtemp())
        >>> event = {"eventType": "START", "eventTime": "2017-01-01T00:00:00Z", "run": {"runId": "0"}}
        >>> outbox.put([event]), outbox.put([event]), outbox.pending()
        (('0-START',), (), ('0-START',))
    """

    def __init__(self, location: str | Path, *, s3: "S3Client | None" = None) -> None:
        self._store: _Folder | _Prefix
        if isinstance(location, str) and location.startswith("s3://"):
            if s3 is None:
                raise LineageOutboxError(f"{location} is in S3; give a client as s3=")
            self._store = _Prefix(location, s3)
        else:
            self._store = _Folder(Path(location))

    def put(self, events: Sequence[Event]) -> tuple[str, ...]:
        """Keep events that are not kept yet.

        Args:
            events: Events of ``open_lineage``.

        Returns:
            Names of those that are new.

        Raises:
            LineageOutboxError: If one cannot be written.
        """
        new = []
        for event in events:
            name = f"{event['run']['runId']}-{event['eventType']}"
            if self._store.write(f"events/{name}.json", json.dumps(event, sort_keys=True).encode()):
                new.append(name)
        return tuple(new)

    def pending(self) -> tuple[str, ...]:
        """Return the names of the events that nobody has taken yet, by name.

        Raises:
            LineageOutboxError: If the outbox cannot be listed.
        """
        return tuple(sorted(set(self._store.names("events")) - set(self._store.names("delivered"))))

    def deliver_pending(self, transport: Transport, *, now: datetime) -> Delivery:
        """Hand over what is pending, oldest first and START before the end of its run.

        An event that the receiver refuses is told and left; when the receiver does not answer, the rest is left untried.

        Args:
            transport: ``http_transport``, ``file_transport`` or another of OpenLineage's.
            now: The time that is kept with what was taken.

        Raises:
            LineageOutboxError: If the outbox cannot be read, or cannot keep that an event was taken.
        """
        events = [(name, json.loads(self._store.read(f"events/{name}.json"))) for name in self.pending()]
        events.sort(key=lambda pair: (pair[1]["eventTime"], _STATES.index(pair[1]["eventType"]), pair[0]))
        delivered: list[str] = []
        failed: list[tuple[str, str]] = []
        for place, (name, event) in enumerate(events):
            try:
                transport.emit(event)
            except (OSError, RuntimeError) as error:  # of requests, and of OpenLineage's file transport
                failed.append((name, f"{type(error).__name__}: {error}"))
                if not _is_refusal(error):
                    rest = tuple(left for left, _ in events[place + 1 :])
                    return Delivery(delivered=tuple(delivered), failed=tuple(failed), untried=rest)
                continue
            receipt = {"delivered": now.astimezone(UTC).isoformat().replace("+00:00", "Z")}
            self._store.write(f"delivered/{name}.json", json.dumps(receipt).encode())
            delivered.append(name)
        return Delivery(delivered=tuple(delivered), failed=tuple(failed))


def http_transport(url: str, *, api_key: str | None = None, timeout: float = 5.0) -> HttpTransport:
    """Return OpenLineage's transport to a collector such as Marquez: POST to ``<url>/api/v1/lineage``.

    Args:
        url: The collector.
        api_key: Sent as bearer token. Default: none.
        timeout: Seconds for connecting and for an answer, of each of three attempts.

    Raises:
        LineageOutboxError: If the URL is none.
    """
    if not url.startswith(("http://", "https://")):
        raise LineageOutboxError(f"url must begin with http:// or https://, got {url!r}")
    auth = {} if api_key is None else {"type": "api_key", "apiKey": api_key}
    retry = {"total": _RETRIES, "connect": _RETRIES, "read": _RETRIES}
    return HttpTransport(HttpConfig.from_dict({"url": url, "timeout": timeout, "auth": auth, "retry": retry}))


def file_transport(path: Path) -> FileTransport:
    """Return OpenLineage's transport to a file: one event a line, appended.

    Args:
        path: The file.
    """
    return FileTransport(FileConfig(log_file_path=str(path), append=True))


def _is_refusal(error: Exception) -> bool:
    """Tell whether the receiver has read an event and does not want it, so that others may still be taken."""
    if not isinstance(error, HTTPError) or error.response is None:
        return False
    status = error.response.status_code
    return 400 <= status < 500 and status not in _TRY_LATER


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, name: str, content: bytes) -> bool:
        path = self._path / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # whole or not at all: a name that is there is never read half written
            part = path.with_suffix(".part")
            part.write_bytes(content)
            if path.exists():
                part.unlink()
                return False
            part.replace(path)
        except OSError as error:
            raise LineageOutboxError(f"cannot write {path}: {error}") from error
        return True

    def read(self, name: str) -> bytes:
        try:
            return (self._path / name).read_bytes()
        except OSError as error:
            raise LineageOutboxError(f"cannot read {self._path / name}: {error}") from error

    def names(self, kind: str) -> Iterator[str]:
        return (path.stem for path in (self._path / kind).glob("*.json"))


class _Prefix:
    def __init__(self, uri: str, s3: "S3Client") -> None:
        self._bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        self._prefix, self._s3 = f"{prefix.strip('/')}/" if prefix.strip("/") else "", s3

    def write(self, name: str, content: bytes) -> bool:
        key = self._prefix + name
        try:
            self._s3.put_object(
                Bucket=self._bucket, Key=key, Body=content, ContentType="application/json", IfNoneMatch="*"
            )
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] == "PreconditionFailed":
                return False
            raise LineageOutboxError(f"cannot write s3://{self._bucket}/{key}: {error}") from error
        return True

    def read(self, name: str) -> bytes:
        key = self._prefix + name
        try:
            return self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except (BotoCoreError, ClientError) as error:
            raise LineageOutboxError(f"cannot read s3://{self._bucket}/{key}: {error}") from error

    def names(self, kind: str) -> Iterator[str]:
        prefix = f"{self._prefix}{kind}/"
        try:
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            for page in pages:
                for found in page.get("Contents", []):
                    yield found["Key"].removeprefix(prefix).removesuffix(".json")
        except (BotoCoreError, ClientError) as error:
            raise LineageOutboxError(f"cannot list s3://{self._bucket}/{prefix}: {error}") from error
