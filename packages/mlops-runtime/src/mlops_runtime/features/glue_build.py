"""A training set that a Glue job builds for a client: its draft, the run that is started and awaited, and the set that it left.

The client checks and tags as for a set that it builds itself, writes entity rows and ``staged/<build>/draft.json`` to the bucket of
training sets, and starts the job; see ``mlops_runtime.jobs.training_set_spark``. The job writes files and manifest, and last
``staged/<build>/done.json``. A run that ends without it has left nothing that is named.
"""

import hashlib
import io
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.features import OutputFile, TrainingSetManifest
from mlops_runtime.features.build_intent import OpenBuild
from mlops_runtime.features.training_set import Prepared, TrainingSet, entities_key, folder
from mlops_runtime.features.training_set_manifest import Manifests, Objects
from mlops_runtime.features.training_set_request import TrainingSetError

DRAFT, DONE = "draft.json", "done.json"
# https://docs.aws.amazon.com/glue/latest/dg/job-run-statuses.html
_ENDED = ("SUCCEEDED", "STOPPED", "FAILED", "TIMEOUT", "ERROR", "EXPIRED")
_LONGEST_PAUSE = 5.0


class GlueBuildError(TrainingSetError):
    """A run of the job that builds training sets ended without one; nothing is lost, and another run builds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a build leaves behind: the id of its training set, whose manifest is there."""

    training_set_id: str


def staged(build: str) -> str:
    """Return the prefix in the bucket of training sets below which a build's files lie until they are in their place."""
    return f"staged/{build}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GlueBuilder:
    """The job, and where it leaves what it builds.

    Attributes:
        glue: A boto3 client of Glue.
        job: Name of the job.
        sets: The bucket of training sets.
        manifests: The manifests.
        pause: Waits so many seconds.
    """

    glue: Any
    job: str
    sets: Objects
    manifests: Manifests
    pause: Callable[[float], None] = time.sleep

    def build(self, ready: Prepared, build: OpenBuild) -> TrainingSet:
        """Start the job, wait until it ends, and return the set whose rows are read when they are asked for.

        Args:
            ready: What is to be built.
            build: The build that is open.

        Raises:
            GlueBuildError: If the run ends otherwise.
        """
        draft, name = ready.manifest, uuid4().hex
        if draft.entity_rows is None or ready.content is None:
            raise TrainingSetError(f"training set {draft.name} has no entity rows of its own")
        build.put_once(self.sets, entities_key(draft.entity_rows), ready.content)
        self.sets.put_once(f"{staged(name)}/{DRAFT}", canonical_json(draft))
        try:
            run = self.glue.start_job_run(JobName=self.job, Arguments={"--build": name})["JobRunId"]
            self.wait(run)
            content = self.sets.get(f"{staged(name)}/{DONE}")
            if content is None:
                raise GlueBuildError(
                    f"run {run} of {self.job} has not said what it built; ask for the training set again"
                )
        finally:
            for key in (DRAFT, DONE):
                self.sets.erase(f"{staged(name)}/{key}")
        return self._stored(from_json(Done, content).training_set_id, draft)

    def wait(self, run: str) -> None:
        """Wait until a run ends.

        Raises:
            GlueBuildError: If it has not succeeded.
        """
        pause = 0.5
        while True:
            found = self.glue.get_job_run(JobName=self.job, RunId=run)["JobRun"]
            if found["JobRunState"] in _ENDED:
                break
            self.pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        if found["JobRunState"] != "SUCCEEDED":
            said = found.get("ErrorMessage") or "it does not say why"
            raise GlueBuildError(
                f"run {run} of {self.job} ended {found['JobRunState']}: {said}; there is no manifest of it, and nothing is lost: "
                "ask for the training set again"
            )

    def _stored(self, digest: str, draft: TrainingSetManifest) -> TrainingSet:
        manifest = self.manifests.read(digest)
        if replace(manifest, build=draft.build, output=draft.output) != draft:
            raise GlueBuildError(f"{self.job} built {digest}, which is not the training set that was asked for")
        return stored_set(self.sets, digest, manifest)


def stored_set(sets: Objects, digest: str, manifest: TrainingSetManifest) -> TrainingSet:
    """Return a set that an engine elsewhere built and stored; its rows are read when they are asked for.

    Args:
        sets: Where sets are kept.
        digest: The manifest's hash.
        manifest: The set's.
    """
    prefix = folder(manifest.name, digest)
    files = StoredFiles(sets, {f"{prefix}/{file.path}": file for file in manifest.output.files})
    counts = manifest.output.matched or {}
    empty = [
        each.alias or each.group for each in manifest.features if manifest.output.rows and not counts.get(each.use)
    ]
    return TrainingSet(
        splits=StoredRows(files),
        files=files,
        manifest=manifest,
        warnings=tuple(
            f"no entity row found a row of group {group}; ask for some of the rows with engine='duckdb', which says why"
            for group in empty
        ),
    )


class StoredFiles(Mapping[str, bytes]):
    """The files of a stored training set by path, each read when it is asked for, and checked.

    Args:
        sets: Where training sets lie.
        files: The files by key.
    """

    def __init__(self, sets: Objects, files: Mapping[str, OutputFile]) -> None:
        self._sets, self._keys = sets, {file.path: (key, file) for key, file in files.items()}

    def __getitem__(self, path: str) -> bytes:
        key, file = self._keys[path]
        content = self._sets.get(key)
        found = None if content is None else hashlib.sha256(content).hexdigest()
        if content is None or found != file.sha256:
            problem = "is missing" if found is None else f"has the SHA-256 {found} instead of {file.sha256}"
            raise TrainingSetError(f"{key} in {self._sets} {problem}; remove it and build the set again")
        return content

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


class StoredRows(Mapping[str, pa.Table]):
    """The rows of a stored training set, which has one split without a name, read when they are asked for.

    Args:
        files: Its files.
    """

    def __init__(self, files: StoredFiles) -> None:
        self._files = files

    def __getitem__(self, split: str) -> pa.Table:
        if split:
            raise KeyError(split)
        return pa.concat_tables([pq.read_table(io.BytesIO(content)) for content in self._files.values()])

    def __iter__(self) -> Iterator[str]:
        return iter(("",))

    def __len__(self) -> int:
        return 1
