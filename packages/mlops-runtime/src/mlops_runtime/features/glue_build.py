"""Training sets built by a Glue job for a client: write a draft, start and await the run, and return the stored set.

The client validates and tags as for a local build, writes entity rows and ``staged/<build>/draft.json`` to the bucket of training
sets, and starts the job; see ``mlops_runtime.jobs.training_set_spark``. The job writes files, manifest and finally
``staged/<build>/done.json``. A run that ends without it leaves nothing that is referenced.
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
    """A run of the build job ended without a training set; nothing is lost, and another run can build it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Result of a build: the id of its training set, whose manifest is stored."""

    training_set_id: str


def staged(build: str) -> str:
    """Return the prefix, in the bucket of training sets, of a build's temporary files."""
    return f"staged/{build}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GlueBuilder:
    """Build training sets with a Glue job."""

    glue: Any  # a boto3 client of Glue
    job: str
    sets: Objects  # the bucket of training sets
    manifests: Manifests
    pause: Callable[[float], None] = time.sleep  # waits for a number of seconds

    def build(self, ready: Prepared, build: OpenBuild) -> TrainingSet:
        """Start the job, wait for its end, and return the set, whose rows are read lazily.

        Raises:
            GlueBuildError: If the run does not succeed.
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
                    f"run {run} of {self.job} did not report a training set; request the training set again"
                )
        finally:
            for key in (DRAFT, DONE):
                self.sets.erase(f"{staged(name)}/{key}")
        return self._stored(from_json(Done, content).training_set_id, draft)

    def wait(self, run: str) -> None:
        """Wait for the end of a run.

        Raises:
            GlueBuildError: If it does not succeed.
        """
        pause = 0.5
        while True:
            found = self.glue.get_job_run(JobName=self.job, RunId=run)["JobRun"]
            if found["JobRunState"] in _ENDED:
                break
            self.pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        if found["JobRunState"] != "SUCCEEDED":
            reason = found.get("ErrorMessage") or "Glue gave no reason"
            raise GlueBuildError(
                f"run {run} of {self.job} ended {found['JobRunState']}: {reason}; it wrote no manifest, and nothing is lost: "
                "request the training set again"
            )

    def _stored(self, digest: str, draft: TrainingSetManifest) -> TrainingSet:
        manifest = self.manifests.read(digest)
        if replace(manifest, build=draft.build, output=draft.output) != draft:
            raise GlueBuildError(f"{self.job} built {digest}, which is not the requested training set")
        return stored_set(self.sets, digest, manifest)


def stored_set(sets: Objects, digest: str, manifest: TrainingSetManifest) -> TrainingSet:
    """Return a set that another engine built and stored; its rows are read lazily."""
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
            f"no entity row matched a row of group {group}; request some of the rows with engine='duckdb', which reports why"
            for group in empty
        ),
    )


class StoredFiles(Mapping[str, bytes]):
    """The files of a stored training set by path; each is read on access and verified."""

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
    """The rows of a stored training set, read on access, as one unnamed split."""

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
