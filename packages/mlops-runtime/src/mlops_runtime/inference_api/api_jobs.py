"""Jobs of an API's callers: pass requests from S3 to an asynchronous endpoint, and publish the results under the job's id.

API Gateway writes a request to ``requests/<endpoint>/api/<id>``. SageMaker's response or failure has a name that begins with
``api-`` and the id. Callers read ``jobs/<endpoint>/<id>``: the model's response, or an empty object if the job failed.
"""

import json
import logging
import re
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mlops_runtime.inference_api.job_names import JOB_ID, NAME, job_key

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

JSON = "application/json"
_REQUEST = re.compile(rf"requests/[^/]+/api/({JOB_ID})")
_ANSWER = re.compile(rf"answers/[^/]+/{NAME}({JOB_ID})(?:\.out)?")
_FAILURE = re.compile(rf"failures/[^/]+/{NAME}({JOB_ID}?)(?:-error)?(?:\.out)?")
_REFUSED = frozenset({"ValidationError", "ValidationException"})
_log = logging.getLogger("mlops.jobs")


class ApiJobs:
    """Handler of an API's jobs for one endpoint.

    Args:
        runtime: Client of SageMaker's runtime.
        s3: Client of S3.
        bucket: Its bucket of requests, responses and failures.
    """

    def __init__(self, runtime: "SageMakerRuntimeClient", s3: "S3Client", *, endpoint: str, bucket: str) -> None:
        self._runtime, self._s3, self._endpoint, self._bucket = runtime, s3, endpoint, bucket

    def follow(self, body: str) -> str:
        """Handle an "Object Created" event; a second delivery repeats the same actions.

        Returns:
            Description of the action, for a log.

        Raises:
            ClientError: If AWS returns an error that may be temporary; the message is delivered again.
            KeyError: If the event names no object.
        """
        key = str(json.loads(body)["detail"]["object"]["key"])
        if match := _REQUEST.fullmatch(key):
            return self._invoke(key, match[1])
        if answered := _ANSWER.fullmatch(key):
            self._s3.copy_object(
                Bucket=self._bucket,
                Key=job_key(self._endpoint, answered[1]),
                CopySource={"Bucket": self._bucket, "Key": key},
            )
            return f"job {answered[1]} is answered"
        if failed := _FAILURE.fullmatch(key):
            return self._fail(failed[1], "by the model")
        return f"{key} is not of a job of the API"

    def _invoke(self, key: str, job: str) -> str:
        try:
            self._runtime.invoke_endpoint_async(
                EndpointName=self._endpoint,
                InputLocation=f"s3://{self._bucket}/{key}",
                InferenceId=job,
                # claim: asynchronous-answers-have-given-names
                Filename=f"{NAME}{job}",
                ContentType=JSON,
                Accept=JSON,
            )
        except ClientError as error:
            # the endpoint does not exist, or is not asynchronous: another delivery would have the same result
            if error.response["Error"]["Code"] not in _REFUSED:
                raise
            _log.warning("job %s is rejected: %s", job, error)
            return self._fail(job, "before it began")
        return f"job {job} waits for the model"

    def _fail(self, job: str, when: str) -> str:
        # SageMaker's message names account and container, which callers must not see
        self._s3.put_object(Bucket=self._bucket, Key=job_key(self._endpoint, job), Body=b"")
        return f"job {job} failed {when}"
