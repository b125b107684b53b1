"""Captures merged with their labels."""

import json
from pathlib import Path

import pytest
from tests.runtime.jobs.model_monitor_container import Container, call, label

from mlops_runtime.jobs import model_monitor_merge
from mlops_runtime.jobs.job_environment import JobError


@pytest.fixture
def container(tmp_path: Path) -> Container:
    """Return an empty container."""
    return Container(tmp_path)


def test_labels_are_merged_by_id_the_last_one_wins(container: Container) -> None:
    """At the call's position, in the record's format."""
    container.capture([call(1, "5", "1"), call(2, "6", "2"), "broken"])
    container.put("processing/groundtruth/2017/08/07/12/a.jsonl", [label(1, 3), label(9, 1)])
    container.put("processing/groundtruth/2017/08/07/13/a.jsonl", [label(1, 4), "broken"])
    model_monitor_merge.run(
        container.environment | {"ground_truth_source": str(container.root / "processing/groundtruth")}
    )

    (line,) = (container.root / "processing/output/demand/AllTraffic/2017/08/07/10/a.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert record["groundTruthData"]["data"] == "4"
    assert record["captureData"]["endpointInput"]["data"] == "5"
    with pytest.raises(JobError, match="ground_truth_source must be set"):
        model_monitor_merge.run(container.environment)
