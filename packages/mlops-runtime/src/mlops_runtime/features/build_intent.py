"""Builds of training sets: each says that it will read before it reads, so that an erasure finds it, stops it and waits for it.

A build: its intent, before any state of a table is loaded; read; write files; ``check``, which finds the fence of an erasure or
makes sure that none can come any more; the manifest; close. An erasure rewrites the tables and removes their history first, so that
who begins later reads none of the rows; then it fences the builds that are open, waits until each is closed or its process has
ended, and removes the entity's files. So no file is left that holds rows, whichever process is killed when.
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
    """An erasure began while a training set was built; nothing of it was kept. Building it again does."""


@dataclass(slots=True)
class OpenBuild:
    """A build that is open. Files are written by ``put_once``; after the last one, and before the manifest, comes ``check``."""

    intent: BuildIntent
    _builds: "Builds"
    _written: list[tuple[Objects, str]] = field(default_factory=list)
    _is_kept: bool = False

    def put_once(self, objects: Objects, key: str, content: bytes) -> bool:
        """Write a file of the training set unless there is one of that key; return whether it was written."""
        self._written.append((objects, key))
        if objects.put_once(key, content):
            return True
        self._written.pop()
        return False

    def check(self) -> None:
        """Make sure that no erasure began that may need to remove the files; from now on it leaves the build alone.

        Raises:
            ErasedDuringBuildError: If one began.
        """
        fence = self._builds.fence(self.intent.id, None)
        if fence.erasure is not None:
            raise ErasedDuringBuildError(
                f"erasure {fence.erasure} began while this training set was built, which may hold what it takes; nothing was kept, "
                "build it again"
            )
        self._is_kept = True

    def give_up(self) -> None:
        """Remove the files that were written in a folder, unless they may be kept; in S3 the erasure does so."""
        for objects, key in () if self._is_kept else self._written:
            if objects.is_folder:
                objects.erase(key)


class Builds:
    """The builds of a feature store.

    Below the place of its manifests: ``builds/<id>.json``, ``builds/<id>.fence`` and, at the end, ``builds/<id>.closed``; in a
    folder the first two go instead. ``builds/<hash>.joined``, one for all builds that join on the same columns, stays.

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
        """Open a build; call it before any state of a table is loaded. It is closed at the end, also by an error.

        Args:
            tables: Names of the tables that will be read.
            places: Below which files will be written.
            takes_rows: Whether entity rows are given, which are written too.
            joined: Of each use of a group that is joined on other columns these, by key column.
            process: What builds. Default: the job that this process runs in, else this process.
            now: The clock.

        Raises:
            ErasedDuringBuildError: If an erasure began meanwhile, or took files of the tables while they were read.
            MissingFileError: If a file of the tables is not there that no erasure took.
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
                f"files of {', '.join(tables)} went while they were read, as an erasure removes them: {error}; nothing was kept, "
                "build it again"
            ) from error

    @contextmanager
    def write(self, table: str, location: str) -> Iterator[None]:
        """Say that rows of a table are about to be written below it, also such as are there; an erasure waits for the end.

        Args:
            table: Name of the table, whose state is not read before.
            location: Where its files lie.
        """
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
            ManifestError: If one cannot be read.
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
        """Return the ids of the builds that were opened; in a folder, of those that are not closed."""
        keys = self._objects.keys("builds/")
        return frozenset(key.removeprefix("builds/").removesuffix(".json") for key in keys if key.endswith(".json"))

    def joined(self) -> list[Mapping[str, str]]:
        """Return the columns that builds have joined on instead of key columns, by those.

        Raises:
            ManifestError: If some cannot be read.
        """
        keys = [key for key in self._objects.keys("builds/") if key.endswith(_JOINED)]
        found = (self._document(JoinedColumns, key) for key in sorted(keys))
        return [each.columns for each in found if each is not None]

    def fence(self, build_id: str, erasure: str | None) -> Fence:
        """Write a build's fence, of an erasure or of the build itself, unless there is one; return the one that counts."""
        key, own = f"builds/{build_id}.fence", Fence(erasure=erasure)
        if self._objects.put_once(key, canonical_json(own)):
            return own
        # also one of our own, whose answer was lost on the way
        return self._document(Fence, key) or own

    def close(self, build_id: str) -> None:
        """Write down that a build writes nothing any more; in a folder its intent goes."""
        if self._objects.is_folder:
            for key in (f"builds/{build_id}.fence", f"builds/{build_id}.json"):
                self._objects.erase(key)
        else:
            self._objects.put_once(f"builds/{build_id}.closed", b"")

    def close_ended(self) -> None:
        """Close the builds in a folder whose processes have ended."""
        for intent in self.unclosed():
            if intent.process.kind == "lock" and not self.is_locked(intent.id):
                self.close(intent.id)

    def _is_erased(self, missing: str) -> bool:
        """Return whether an erasure has not ended, or took a file that is missing, by the text that says which.

        A job that may not list erasures does not know; ``MissingFileError`` says both.
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
        """Return whether a process holds the lock of a build in a folder."""
        return self._objects.is_held(f"builds/{build_id}.json")

    def _document(self, kind: type[T], key: str) -> T | None:
        content = self._objects.get(key)
        try:
            return None if content is None else from_json(kind, content)
        except ContractError as error:
            raise ManifestError(
                f"{key} in {self._objects} cannot be read: {error}; use the version of the library that wrote it"
            ) from error
