"""A unit's store is found by its parameter, and only SageMaker and Glue report the end of a job.

The client is tested in ``tests/cli/test_feature_location.py``.
"""

from datetime import UTC, datetime
from typing import Any

import pytest

from mlops_local.cloud import Cloud
from mlops_runtime.business_unit.deployed_entries import NotDeployedError
from mlops_runtime.contracts.features import BuildProcess
from mlops_runtime.features.deployed_store import ended_on_aws, open_store


def test_fails_without_a_store(cloud: Cloud) -> None:
    """The error names the unit."""
    with pytest.raises(NotDeployedError, match="business unit 'never' has not published a feature store"):
        open_store(cloud.client, cloud.environment(), unit="never", now=datetime(2017, 8, 1, tzinfo=UTC))


class Jobs:
    """SageMaker and Glue with a given job state."""

    def __init__(self, state: str) -> None:
        """Respond with a state."""
        self.state, self.asked = state, {}

    def describe_processing_job(self, **asked: str) -> dict[str, str]:
        """DescribeProcessingJob."""
        self.asked = asked
        return {"ProcessingJobStatus": self.state}

    def get_job_run(self, **asked: str) -> dict[str, dict[str, str]]:
        """GetJobRun."""
        self.asked = asked
        return {"JobRun": {"JobRunState": self.state}}


@pytest.mark.parametrize(
    ("kind", "state", "has_ended"),
    [
        ("processing-job", "InProgress", False),
        ("processing-job", "Stopping", False),
        ("processing-job", "Failed", True),
        ("job-run", "STOPPING", False),
        ("job-run", "TIMEOUT", True),
        ("other", "Completed", False),
    ],
)
def test_only_the_service_says_that_a_job_has_ended(kind: Any, state: str, has_ended: bool) -> None:
    """A stopping job may still write; the end of other processes is unknown."""
    jobs = Jobs(state)
    process = BuildProcess(kind=kind, name="demand-set", run="r" if kind == "job-run" else None)
    assert ended_on_aws(jobs, jobs)(process) is has_ended
    assert set(jobs.asked.values()) == (set() if kind == "other" else {"demand-set", *filter(None, [process.run])})
