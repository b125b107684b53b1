"""Names of a job of an API: its id, and the keys of its request, answer, failure and end in the endpoint's bucket."""

# of the gateway's ids, without the padding that a key would need encoded
JOB_ID = "[A-Za-z0-9_-]{8,64}"
# how names of answers and failures begin; those of clients of their own do not
NAME = "api-"


def job_key(endpoint: str, job: str) -> str:
    """Return the key of what callers read of a job.

    Example:
        >>> job_key("demand-forecast", "JKJaXmPLvHcESHA")
        'jobs/demand-forecast/JKJaXmPLvHcESHA'
    """
    return f"jobs/{endpoint}/{job}"
