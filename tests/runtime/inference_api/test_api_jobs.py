"""What an event of a job's object is, of the names that SageMaker may give; `tests/lambdas/test_api_jobs.py` has the effects."""

import json
from typing import Any

import pytest

from mlops_runtime.inference_api.api_jobs import ApiJobs


class Unused:
    """Clients that must not be called."""


@pytest.mark.parametrize(
    "key",
    [
        "requests/demand-night/0a1b2c3d4e", "requests/demand-night/api/short", "requests/demand-night/api/AAAAAAAA/b",
        "answers/demand-night/0a1b2c3d-uuid.out", "answers/demand-night/sub/api-AAAAAAAA.out", "jobs/demand-night/AAAAAAAA",
        "failures/demand-night/0a1b2c3d-uuid-error.out",
    ],
)  # fmt: skip
def test_objects_of_others_are_left_alone(key: str) -> None:
    """Those of clients of their own, and ends themselves."""
    unused: Any = Unused()
    jobs = ApiJobs(unused, unused, endpoint="demand-night", bucket="exchange")

    assert jobs.follow(json.dumps({"detail": {"object": {"key": key}}})) == f"{key} is not of a job of the API"


def test_an_event_without_an_object_is_not_lost() -> None:
    """It goes to the dead letters."""
    unused: Any = Unused()
    with pytest.raises(KeyError):
        ApiJobs(unused, unused, endpoint="demand-night", bucket="exchange").follow('{"detail": {}}')
