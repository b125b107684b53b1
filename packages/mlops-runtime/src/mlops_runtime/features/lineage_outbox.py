"""Lineage events are kept first and delivered then: nobody who builds waits for, or fails with, whoever collects lineage.

``<location>/events/<run>-<state>.json`` is the event, ``<location>/delivered/<run>-<state>.json`` says when it was taken. What has
no second object is pending, and every later delivery tries it again. Nothing is deleted or replaced, so that the location may be
locked. Delivery is at least once; events of one run and state are the same event.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from openlineage.client.transport.file import FileConfig, FileTransport
from openlineage.client.transport.http import HttpConfig, HttpTransport
from requests import HTTPError

from mlops_runtime.features.objects import Objects
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
        if isinstance(location, str) and location.startswith("s3://") and s3 is None:
            raise LineageOutboxError(f"{location} is in S3; give a client as s3=")
        self._objects = Objects(location, s3=s3)

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
            if self._write(f"events/{name}.json", event):
                new.append(name)
        return tuple(new)

    def pending(self) -> tuple[str, ...]:
        """Return the names of the events that nobody has taken yet, by name.

        Raises:
            LineageOutboxError: If the outbox cannot be listed.
        """
        with _said(f"list {self._objects}"):
            kept, taken = (set(self._objects.keys(f"{kind}/")) for kind in ("events", "delivered"))
        names = (PurePosixPath(key).stem for key in kept if key.replace("events/", "delivered/", 1) not in taken)
        return tuple(sorted(names))

    def deliver_pending(self, transport: Transport, *, now: datetime) -> Delivery:
        """Hand over what is pending, oldest first and START before the end of its run.

        An event that the receiver refuses is told and left; when the receiver does not answer, the rest is left untried.

        Args:
            transport: ``http_transport``, ``file_transport`` or another of OpenLineage's.
            now: The time that is kept with what was taken.

        Raises:
            LineageOutboxError: If the outbox cannot be read, or cannot keep that an event was taken.
        """
        events = [(name, self._read(f"events/{name}.json")) for name in self.pending()]
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
            self._write(f"delivered/{name}.json", receipt)
            delivered.append(name)
        return Delivery(delivered=tuple(delivered), failed=tuple(failed))

    def _write(self, key: str, document: Mapping[str, object]) -> bool:
        with _said(f"write {key} in {self._objects}"):
            return self._objects.put_once(key, json.dumps(document, sort_keys=True).encode())

    def _read(self, key: str) -> Event:
        with _said(f"read {key} in {self._objects}"):
            event: Event = json.loads(self._objects.get(key) or b"{}")
        return event


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


@contextmanager
def _said(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, BotoCoreError, ClientError) as error:
        raise LineageOutboxError(f"cannot {what}: {error}") from error
