"""Names of an API's jobs: the job id, and the keys of request, response, failure and result in the endpoint's bucket."""

# request ids of API Gateway, without the padding that a key would have to encode
JOB_ID = "[A-Za-z0-9_-]{8,64}"
# prefix of responses and failures of API jobs, which those of other clients do not have
NAME = "api-"


def job_key(endpoint: str, job: str) -> str:
    """Return the key of a job's result, which callers read.

    Example:
        >>> job_key("demand-forecast", "JKJaXmPLvHcESHA")
        'jobs/demand-forecast/JKJaXmPLvHcESHA'
    """
    return f"jobs/{endpoint}/{job}"
