"""Names of jobs."""

import re

from mlops_runtime.inference_api.job_names import JOB_ID, job_key


def test_ids_are_no_paths() -> None:
    """Of the gateway's, without padding; what could lead elsewhere in a bucket fits not."""
    assert re.fullmatch(JOB_ID, "Z_uIhGAZ-AMFb0g")
    for other in ("short", "a" * 65, "../../secrets", "AAAAAAAA/b", "AAAAAAAA=", "AAAAAAAA%2Fb", "AAAAAAAA\n"):
        assert not re.fullmatch(JOB_ID, other)


def test_an_end_has_the_jobs_id() -> None:
    """Below its endpoint."""
    assert job_key("demand-night", "Z_uIhGAZ-AMFb0g") == "jobs/demand-night/Z_uIhGAZ-AMFb0g"
