"""Intents of training set builds, by which an erasure finds, stops and awaits the builds that may read the erased rows.

A build writes its intent before it loads any table state, reads, writes files, calls ``check``, writes the manifest and closes.
``check`` fails if an erasure has fenced the build, and otherwise prevents a later fence. An erasure first rewrites the tables and
removes their history, so that builds that begin later read none of the rows. Then it fences the open builds, waits until each is
closed or its process has ended, and removes the entity's files. So no file with erased rows remains, whichever process is killed
at any point.
"""

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from botocore.exceptions import ClientError

from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json
from mlops_runtime.contracts.features import BuildIntent, BuildProcess, ErasedTable, Fence, JoinedColumns
from mlops_runtime.features.training_set_manifest import ERASURES, ManifestError, Objects
from mlops_runtime.features.training_set_request import TrainingSetError

T = TypeVar("T")
_JOINED = ".joined"


class ErasedDuringBuildError(TrainingSetError):
    """An erasure began during the build of a training set; nothing was stored. Build the set again."""


@dataclass(slots=True)
class OpenBuild:
    """An open build. Write files with ``put_once``; call ``check`` after the last file and before the manifest."""

    intent: BuildIntent
    _builds: "Builds"
    _written: list[tuple[Objects, str]] = field(default_factory=list)
    _is_kept: bool = False

    def put_once(self, objects: Objects, key: str, content: bytes) -> bool:
        """Write a file of the training set unless the key exists; return whether it was written."""
        self._written.append((objects, key))
        if objects.put_once(key, content):
            return True
        self._written.pop()
        return False

    def check(self) -> None:
        """Check that no erasure began that may have to remove the files; later erasures then ignore this build.

        Raises:
            ErasedDuringBuildError: If an erasure began.
        """
        fence = self._builds.fence(self.intent.id, None)
        if fence.erasure is not None:
            raise ErasedDuringBuildError(
                f"erasure {fence.erasure} began while this training set was built and may affect its rows; nothing was stored, "
                "build it again"
            )
        self._is_kept = True

    def give_up(self) -> None:
        """Remove files written to a local folder, unless the set may be stored; in S3 the erasure removes them."""
        for objects, key in () if self._is_kept else self._written:
            if objects.is_folder:
                objects.erase(key)


class Builds:
    """The builds of a feature store.

    Below the location of its manifests: ``builds/<id>.json``, ``builds/<id>.fence`` and, at the end, ``builds/<id>.closed``; in a
    local folder, closing removes the first two instead. ``builds/<hash>.joined``, one for all builds that join on the same columns,
    remains.

    Args:
        place: A folder, or an ``s3://`` prefix.
        s3: A boto3 client, for a prefix.

    Example:
        >>> import tempfile
        >>> builds = Builds(tempfile.mkdtemp())
        >>> with builds.begin(tables=["stock_v1"], places=["/sets"], takes_rows=True) as build:
        ...     build.check()
        ...     [each.tables for each in builds.unclosed()]
        [('stock_v1',)]
        >>> builds.unclosed()
        ()
    """

    def __init__(self, place: str | Path, *, s3: Any = None) -> None:
        self._objects = Objects(place, s3=s3)

    def __str__(self) -> str:
        return str(self._objects)

    @contextmanager
    def begin(
        self,
        *,
        tables: Sequence[str],
        places: Sequence[str],
        takes_rows: bool,
        joined: Iterable[Mapping[str, str]] = (),
        process: BuildProcess | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Iterator[OpenBuild]:
        """Open a build; call it before any table state is loaded. The build is closed at the end, also after an error.

        Args:
            tables: Names of the tables to read.
            places: Locations of the files to write.
            takes_rows: Whether entity rows are given, which are stored too.
            joined: For each group joined on other columns, those columns by key column.
            process: The building process. Default: the job that this process runs in, else this process.
            now: The clock.

        Raises:
            ErasedDuringBuildError: If an erasure began during the build, or removed files of the tables while they were read.
            MissingFileError: If a file of the tables is missing that no erasure removed.
        """
        for each in joined:
            if each:
                columns = JoinedColumns(columns=dict(each))
                self._objects.put_once(f"builds/{content_hash(columns)}{_JOINED}", canonical_json(columns))
        try:
            with self._opened(tables, places, takes_rows=takes_rows, process=process, now=now) as build:
                yield build
        except FileNotFoundError as error:
            if not self._is_erased(str(error)):
                raise
            raise ErasedDuringBuildError(
                f"files of {', '.join(tables)} disappeared while they were read, as erasures remove them: {error}; nothing "
                "was stored, build it again"
            ) from error

    @contextmanager
    def write(self, table: str, location: str) -> Iterator[None]:
        """Announce, before the table is loaded, that rows of it will be written to a location; an erasure waits for the end."""
        with self._opened((table,), (location,), takes_rows=False, process=None, now=lambda: datetime.now(UTC)):
            yield

    @contextmanager
    def _opened(
        self,
        tables: Sequence[str],
        places: Sequence[str],
        *,
        takes_rows: bool,
        process: BuildProcess | None,
        now: Callable[[], datetime],
    ) -> Iterator[OpenBuild]:
        intent = BuildIntent(
            id=uuid4().hex,
            at=now().astimezone(UTC).isoformat(),
            tables=tuple(tables),
            takes_rows=takes_rows,
            places=tuple(places),
            process=self._process(os.environ) if process is None else process,
        )
        build = OpenBuild(intent, self)
        lock = self._objects.put_held(f"builds/{intent.id}.json", canonical_json(intent))
        try:
            yield build
        except BaseException:
            build.give_up()
            raise
        finally:
            self.close(intent.id)
            if lock is not None:
                lock.close()

    def _process(self, environment: Mapping[str, str]) -> BuildProcess:
        if self._objects.is_folder:
            return BuildProcess(kind="lock", name=f"process {os.getpid()} of {socket.gethostname()}")
        job = environment.get("PROCESSING_JOB_NAME")
        if job is not None:
            return BuildProcess(kind="processing-job", name=job)
        return BuildProcess(kind="other", name=f"process {os.getpid()} of {socket.gethostname()}")

    def unclosed(self) -> tuple[BuildIntent, ...]:
        """Return the builds that were opened and not closed; their processes may have ended.

        Raises:
            ManifestError: If an intent cannot be read.
        """
        keys = set(self._objects.keys("builds/"))
        found = (key.removeprefix("builds/").removesuffix(".json") for key in sorted(keys) if key.endswith(".json"))
        return tuple(
            intent
            for each in found
            if f"builds/{each}.closed" not in keys
            and (intent := self._document(BuildIntent, f"builds/{each}.json")) is not None
        )

    def ids(self) -> frozenset[str]:
        """Return the ids of all opened builds; in a local folder, of the unclosed ones."""
        keys = self._objects.keys("builds/")
        return frozenset(key.removeprefix("builds/").removesuffix(".json") for key in keys if key.endswith(".json"))

    def joined(self) -> list[Mapping[str, str]]:
        """Return the columns that builds joined on instead of key columns, by key column.

        Raises:
            ManifestError: If a document cannot be read.
        """
        keys = [key for key in self._objects.keys("builds/") if key.endswith(_JOINED)]
        found = (self._document(JoinedColumns, key) for key in sorted(keys))
        return [each.columns for each in found if each is not None]

    def fence(self, build_id: str, erasure: str | None) -> Fence:
        """Write a build's fence, of an erasure or of the build itself, unless one exists; return the fence that counts."""
        key, own = f"builds/{build_id}.fence", Fence(erasure=erasure)
        if self._objects.put_once(key, canonical_json(own)):
            return own
        # may also be our own, written by a request whose response was lost
        return self._document(Fence, key) or own

    def close(self, build_id: str) -> None:
        """Record that a build writes nothing more; in a local folder, remove its intent."""
        if self._objects.is_folder:
            for key in (f"builds/{build_id}.fence", f"builds/{build_id}.json"):
                self._objects.erase(key)
        else:
            self._objects.put_once(f"builds/{build_id}.closed", b"")

    def close_ended(self) -> None:
        """Close the builds in a local folder whose processes have ended."""
        for intent in self.unclosed():
            if intent.process.kind == "lock" and not self.is_locked(intent.id):
                self.close(intent.id)

    def _is_erased(self, missing: str) -> bool:
        """Return whether an erasure is unfinished, or removed the file that an error message names.

        Without permission to list erasures the result is false; ``MissingFileError`` then mentions both causes.
        """
        try:
            keys = set(self._objects.keys(ERASURES))
        except ClientError:
            return False
        began = [key for key in keys if key.endswith(".json") and key.count("/") == 1]
        if any(f"{key.removesuffix('.json')}.done" not in keys for key in began):
            return True
        took = [self._document(ErasedTable, key) for key in keys if key.count("/") == 2]
        return any(file.rpartition("/")[2] in missing for each in took if each is not None for file in each.files)

    def is_locked(self, build_id: str) -> bool:
        """Return whether a process holds the lock of a build in a local folder."""
        return self._objects.is_held(f"builds/{build_id}.json")

    def _document(self, kind: type[T], key: str) -> T | None:
        content = self._objects.get(key)
        try:
            return None if content is None else from_json(kind, content)
        except ContractError as error:
            raise ManifestError(
                f"{key} in {self._objects} cannot be read: {error}; use the version of the library that wrote it"
            ) from error
