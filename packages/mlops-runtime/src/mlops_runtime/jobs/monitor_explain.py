"""Explain a sample of a window's captured rows with the live model, and compare the attributions with its baseline."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_runtime.contracts.monitor import Baseline, MonitorState
from mlops_runtime.contracts.monitor_report import ExplainabilityResult
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.jobs.monitor_parts import lines_from
from mlops_runtime.monitor.counting.announced import IsAnnounced, never_announced
from mlops_runtime.monitor.counting.baseline_cells import Numbers
from mlops_runtime.monitor.counting.capture_lines import CaptureError, is_since, read_call
from mlops_runtime.monitor.monitors.attribution_ranking import AttributionError, compare
from mlops_runtime.monitor.monitors.attributions import attributions
from mlops_runtime.serving.model_folder import hash_of
from mlops_runtime.serving.model_source import ModelEnvironment, archived_model
from mlops_runtime.serving.request_payload import CSV, JSON, PayloadError, Reader
from mlops_runtime.serving.served_model import CategoryCodes, ModelError, ServedModel

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# with fewer rows, the ranking of features is mostly chance
MINIMUM_ROWS = 50
_LINES = 100  # lines read from an offset to find a row that the live model answered


def explain(
    live: LivePointer,
    baseline: Baseline,
    sizes: Mapping[str, int],
    *,
    s3: "S3Client",
    captures: str,
    rows: int,
    minimum_ndcg: float,
    announced: IsAnnounced = never_announced,
) -> ExplainabilityResult | None:
    """Return the result of a window's capture objects, with the reason if it cannot be explained, since drift is still decided.

    Return None if the baseline has no attributions, because they were not requested in its evaluation.
    """
    if baseline.attributions is None:
        return None
    try:
        with _live_model(live, s3) as model:
            found = sample(
                model, baseline, sizes, s3=s3, captures=captures, rows=rows, since=live.since, announced=announced
            )
            if len(found) < min(rows, MINIMUM_ROWS):
                return ExplainabilityResult(state=MonitorState.INSUFFICIENT_DATA)
            measured = attributions(model, baseline, found)
        return compare(baseline.attributions, measured, minimum_ndcg)
    except (AttributionError, ModelError) as error:
        return ExplainabilityResult(problems={f"attributions: {error}": 1})


def sample(
    model: ServedModel,
    baseline: Baseline,
    sizes: Mapping[str, int],
    *,
    s3: "S3Client",
    captures: str,
    rows: int,
    since: str,
    announced: IsAnnounced = never_announced,
) -> Numbers:
    """Return captured rows in the form of model input: a random one from each of ``rows`` equal ranges of the window's bytes.

    The objects are concatenated in order of time, so that every hour is represented in proportion to its traffic, and the amount
    of data read depends on the sample instead of the window. A call of several rows contributes one of them. Equal calls are all
    used, but no line is used twice.
    """
    # the same seed for the same objects, another for the next window
    random = np.random.default_rng((sum(sizes.values()) + len(sizes) + baseline.rows) % (1 << 32))
    keys, ends = list(sizes), list(accumulate(sizes.values()))
    reader, names = Reader(model.signature), [feature.name for feature in baseline.features]
    found: list[Numbers] = []
    seen: set[tuple[str, bytes]] = set()
    total = ends[-1] if ends else 0
    for place in (np.arange(rows) + random.random(rows)) * (total / rows) if total else ():
        index = int(np.searchsorted(ends, place, side="right"))
        key = keys[index]
        start = int(place) - (ends[index] - sizes[key])
        for line in _around(s3, captures, key, start):
            row = None if (key, line) in seen else _row(line, names, reader, random, since=since, announced=announced)
            if row is not None:
                seen.add((key, line))
                found.append(row)
                break
    return (
        CategoryCodes(model.signature).of(np.concatenate(found))
        if found
        else np.empty((0, len(names)), dtype=np.float32)
    )


def _around(s3: "S3Client", bucket: str, key: str, start: int) -> Iterator[bytes]:
    """Yield lines from the first one that begins at or after a byte; after the last, continue with the object's first."""
    places = dict.fromkeys((start, 0))
    return islice(chain.from_iterable(lines_from(s3, bucket, key, place) for place in places), _LINES)


def _row(
    line: bytes, names: list[str], reader: Reader, random: np.random.Generator, *, since: str, announced: IsAnnounced
) -> Numbers | None:
    """Return one row of a call of the live model that the platform did not announce as its own, or None."""
    if not line.strip():
        return None
    try:
        call = read_call(line, names, announced)
    except CaptureError:
        return None
    rows = [row for row in call.rows or () if row is not None]
    if call.is_synthetic or not rows or not is_since(call.time, since):
        return None
    row: list[Any] = list(rows[int(random.integers(len(rows)))])
    try:
        return reader.rows([row], CSV if all(isinstance(value, str) for value in row) else JSON)
    except PayloadError:
        return None


@contextmanager
def _live_model(live: LivePointer, s3: "S3Client") -> Iterator[ServedModel]:
    bucket, _, key = live.artifact_uri.removeprefix("s3://").partition("/")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "model.tar.gz"
        s3.download_file(bucket, key, str(archive))
        found = hash_of(archive)
        if found != live.artifact_sha256:
            raise ModelError(f"{live.artifact_uri} has SHA-256 {found}, the live pointer has {live.artifact_sha256}")
        environment = ModelEnvironment.from_variables(os.environ)
        with archived_model(archive, environment, expected_sha256=live.model_sha256) as model:
            yield model
