"""Training metrics of a script: ``metrics.json`` and ``metrics.csv`` in the job's output. Pure.

The script writes both to ``SM_OUTPUT_DATA_DIR``, which SageMaker packs into ``output.tar.gz`` with the model. They are untrusted
input: their size is limited, and unreadable content is reported as a problem, but fails nothing.

A failing job logs them in one line, since it may leave no output.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-output.html
"""

import csv
import gzip
import io
import json
import math
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from mlops_runtime.contracts import ContractError, canonical_json, from_json
from mlops_runtime.contracts.retraining import TrainingMetrics

METRICS_FILE = "metrics.json"
CURVES_FILE = "metrics.csv"
MAXIMUM_ARCHIVE = 64 * 1024**2  # bytes, packed
MAXIMUM_FILE = 1024**2  # bytes of each file
MAXIMUM_NAMES = 200
MAXIMUM_STEPS = 10_000
_MAXIMUM_UNPACKED = 256 * 1024**2  # bytes that are searched for both files
_MAXIMUM_NAME = 100  # characters
# bytes of one log event, in CloudWatch and in the embedded cloud, which splits lines of 64 KiB
_MAXIMUM_LINE = 60_000
_LOGGED = "mlops train: written before it failed: "


def read_output(archive: IO[bytes]) -> TrainingMetrics | None:
    """Return the training metrics in a job's output; None if it has neither file.

    Args:
        archive: Content of ``output.tar.gz``.
    """
    files: dict[str, bytes] = {}
    problems: list[str] = []
    try:
        with gzip.open(archive) as plain:
            bounded: Any = _Bounded(plain)
            unpacked = tarfile.open(fileobj=bounded, mode="r|")  # noqa: SIM115 - it owns no resources
            for member in unpacked:
                name = member.name.removeprefix("./")
                if name in (METRICS_FILE, CURVES_FILE) and member.isfile():
                    if member.size > MAXIMUM_FILE:
                        problems.append(f"{name} must have at most {MAXIMUM_FILE} bytes, got {member.size}")
                    elif (content := unpacked.extractfile(member)) is not None:
                        files[name] = content.read()
                if len(files) == 2:
                    break
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        problems.append(f"output.tar.gz cannot be read: {error}")
    if not files and not problems:
        return None
    return read_files(files, problems=tuple(problems))


def read_files(files: Mapping[str, bytes], *, problems: tuple[str, ...] = ()) -> TrainingMetrics:
    """Parse the files of training metrics.

    Args:
        files: Content of ``metrics.json`` and ``metrics.csv``, if present.
        problems: Problems that are already known.

    Example:
        >>> read_files({"metrics.json": b'{"rmse": 1.5}'}).metrics
        {'rmse': 1.5}
    """
    found = TrainingMetrics(problems=problems)
    for name, read in ((METRICS_FILE, _with_metrics), (CURVES_FILE, _with_curves)):
        if name not in files:
            continue
        try:
            found = read(found, files[name].decode())
        except (ValueError, OverflowError, RecursionError, csv.Error) as error:
            found = replace(found, problems=(*found.problems, f"{name}: {error}"))
    return found


def read_folder(folder: Path) -> TrainingMetrics | None:
    """Return the training metrics that a script has written so far; None if it has written neither file.

    Args:
        folder: ``SM_OUTPUT_DATA_DIR``.
    """
    files: dict[str, bytes] = {}
    problems: list[str] = []
    for name in (METRICS_FILE, CURVES_FILE):
        path = folder / name
        if path.is_symlink() or not path.is_file():
            continue
        try:
            with path.open("rb") as file:
                content = file.read(MAXIMUM_FILE + 1)
        except OSError as error:
            problems.append(f"{name}: {error.strerror}")
            continue
        if len(content) > MAXIMUM_FILE:
            problems.append(f"{name} must have at most {MAXIMUM_FILE} bytes, it has more")
        else:
            files[name] = content
    return read_files(files, problems=tuple(problems)) if files or problems else None


def log_line(metrics: TrainingMetrics) -> str:
    """Return metrics as a log line; every second step of long curves is left out until the line fits into one event.

    Example:
        >>> read_log_line(log_line(TrainingMetrics(metrics={"rmse": 1.5}))).metrics
        {'rmse': 1.5}
    """
    kept, every = metrics, 1
    while len(line := _LOGGED.encode() + canonical_json(kept)) > _MAXIMUM_LINE and kept.steps:
        if len(kept.steps) == 1:  # of many curves with long names
            kept = replace(metrics, steps=(), curves={}, problems=(*metrics.problems, "the log has no steps"))
            continue
        every *= 2
        kept = replace(
            metrics,
            steps=metrics.steps[::every],
            curves={name: values[::every] for name, values in metrics.curves.items()},
            problems=(*metrics.problems, f"the log has 1 of {every} steps"),
        )
    return line.decode()


def read_log_line(line: str) -> TrainingMetrics | None:
    """Return the metrics in a log line; None for any other line."""
    _, found, text = line.partition(_LOGGED)
    try:
        return from_json(TrainingMetrics, text) if found else None
    except ContractError:
        return None


class _Bounded:
    """A stream with a limit of bytes, since a small archive may unpack to any size."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream, self._left = stream, _MAXIMUM_UNPACKED

    def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes.

        Raises:
            OSError: If the limit is exceeded.
        """
        content = self._stream.read(min(size, self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise OSError(
                f"it unpacks to more than {_MAXIMUM_UNPACKED} bytes; write the metrics first, or less beside them"
            )
        return content


def _with_metrics(found: TrainingMetrics, text: str) -> TrainingMetrics:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError(  # noqa: TRY004 - an error of the file's content, like the others
            f"it must be an object of names and numbers, got {type(document).__name__}"
        )
    _check_names(list(document))
    wrong = [name for name, value in document.items() if not _is_number(value)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} must be a finite number, got {document[wrong[0]]!r:.80}")
    return replace(found, metrics={name: float(value) for name, value in document.items()})


def _with_curves(found: TrainingMetrics, text: str) -> TrainingMetrics:
    lines = csv.reader(io.StringIO(text))
    step, *names = next(lines, [""])
    if not names:
        raise ValueError("it must begin with a header: the name of the step, then of each curve")
    _check_names([step, *names])
    rows = list(_rows(lines, len(names) + 1))
    return replace(
        found,
        step=step,
        steps=tuple(_step(row[0]) for row in rows),
        curves={name: tuple(_cell(row[place]) for row in rows) for place, name in enumerate(names, start=1)},
    )


def _rows(lines: Iterator[list[str]], wide: int) -> Iterator[list[str]]:
    for number, row in enumerate((row for row in lines if row), start=1):
        if number > MAXIMUM_STEPS:
            raise ValueError(f"it must have at most {MAXIMUM_STEPS} steps")
        if len(row) != wide:
            raise ValueError(f"line {number + 1} has {len(row)} cells, the header has {wide}")
        yield row


def _check_names(names: list[str]) -> None:
    if len(names) > MAXIMUM_NAMES:
        raise ValueError(f"it must have at most {MAXIMUM_NAMES} names, got {len(names)}")
    wrong = [name for name in names if not name or len(name) > _MAXIMUM_NAME or not name.isprintable()]
    if wrong or len(set(names)) < len(names):
        raise ValueError(f"names must be different, printable, of 1 to {_MAXIMUM_NAME} characters, got {names!r:.200}")


def _step(text: str) -> float:
    value = _cell(text)
    if value is None:
        raise ValueError(f"a step must be a number, got {text!r:.40}")
    return value


def _cell(text: str) -> float | None:
    """Return a cell's number; None for one that is empty or not finite, as of a loss that has diverged."""
    if not text.strip():
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
