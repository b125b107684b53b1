"""Client of a model's API: a request signed with IAM, and the parts of the response to store."""

# [start:predict]
import json
import os
from typing import Any, NamedTuple

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies


class Prediction(NamedTuple):
    """The predictions of a call, and the id for sending their labels."""

    values: list[float]
    inference_id: str


def predict(url: str, rows: list[dict[str, object]]) -> Prediction:
    """Call a model; a response other than 200 raises an error with the response's problem."""
    session = boto3.Session()
    credentials = session.get_credentials()
    if credentials is None:
        raise RuntimeError("there are no AWS credentials; assume the role that may invoke the model")
    signed = AWSRequest("POST", url, data=json.dumps({"instances": rows}), headers={"Content-Type": "application/json"})
    SigV4Auth(credentials, "execute-api", session.region_name).add_auth(signed)
    # like boto3's clients, it uses the environment's proxy and certificates
    trusted: Any = os.environ.get("AWS_CA_BUNDLE") or True
    http = URLLib3Session(timeout=30, proxies=get_environ_proxies(url), verify=trusted)
    answer = http.send(signed.prepare())
    if answer.status_code != 200:
        raise RuntimeError(answer.text)
    return Prediction(json.loads(answer.content)["predictions"], answer.headers["X-Inference-Id"])


# [end:predict]
