"""Captured answers of a rollout: whether they have readable numbers."""

import logging
from datetime import datetime
from typing import Any

import boto3

from mlops_runtime.contracts import from_dict, to_dict
from mlops_runtime.rollout.answers_request import BodiesRequest
from mlops_runtime.rollout.rollout_answers import AnswersFunction

_log = logging.getLogger("mlops.answers")
_log.setLevel(logging.INFO)

FUNCTION = AnswersFunction(s3=boto3.client("s3"))


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer ``{"bodies", "now"}`` with ``{"is_stopped", "sentence"}``."""
    del context
    request = from_dict(BodiesRequest, event["bodies"])
    found = FUNCTION.bodies(request, now=datetime.fromisoformat(event["now"]))
    _log.info("%s: %s", request.endpoint, found.sentence)
    return dict(to_dict(found))
