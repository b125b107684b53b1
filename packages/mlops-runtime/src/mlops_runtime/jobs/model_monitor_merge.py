"""``python -m mlops_runtime.jobs.model_monitor_merge``: merge captures with their labels, one record per line.

It replaces the image ``sagemaker-model-monitor-groundtruth-merger``, the first of the two jobs of a monitor with labels.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlops_runtime.jobs.job_environment import JobError

_NEEDED = ("dataset_source", "ground_truth_source", "output_path")


def merge(captures: Path, labels: Path, output: Path) -> tuple[int, int]:
    """Write each captured call that has labels to the same path below ``output``, with its ``groundTruthData``.

    A label that is uploaded again, in a later file or line, replaces the earlier one. Return the number of calls with labels, and
    the number without.
    """
    known = {_key(record): record["groundTruthData"] for record in _records(labels, "groundTruthData")}
    merged = alone = 0
    for path in sorted(captures.rglob("*.jsonl")):
        lines = []
        for record in _records(path, "captureData"):
            truth = known.get(_key(record))
            if truth is None:
                alone += 1
                continue
            lines.append(json.dumps({**record, "groundTruthData": truth}))
        if lines:
            target = output / path.relative_to(captures)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("\n".join(lines) + "\n")
            merged += len(lines)
    return merged, alone


def main() -> None:
    """Run the job; an error is its last line of output."""
    try:
        run(os.environ)
    except JobError as error:
        sys.exit(f"model_monitor_merge: {error}")


def run(environment: Mapping[str, str]) -> None:
    """Run the merge with the paths of the environment.

    Raises:
        JobError: If a variable is missing.
    """
    missing = [name for name in _NEEDED if not environment.get(name)]
    if missing:
        raise JobError(f"{', '.join(missing)} must be set")
    captures, labels, output = (Path(environment[name]) for name in _NEEDED)
    merged, alone = merge(captures, labels, output)
    sys.stdout.write(f"{merged} calls have labels, {alone} have none\n")


def _records(path: Path, member: str) -> Iterator[dict[str, object]]:
    """Yield the records with a member; other lines are skipped."""
    for file in sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]:
        with file.open("rb") as lines:
            for line in lines:
                try:
                    record = json.loads(line)
                    if isinstance(record[member], dict) and record["eventMetadata"]["eventId"]:
                        yield record
                except (ValueError, KeyError, TypeError):
                    continue


def _key(record: Mapping[str, Any]) -> str:
    metadata = record["eventMetadata"]
    return str(metadata["eventId"] if metadata.get("inferenceId") is None else metadata["inferenceId"])


if __name__ == "__main__":
    main()
