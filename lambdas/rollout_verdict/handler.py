"""Comparison of a rollout's new fleet with the old one: the next action and its reason."""

import logging
import os
from dataclasses import replace
from datetime import datetime
from typing import Any

import boto3

from mlops_runtime.contracts import from_dict, to_dict
from mlops_runtime.rollout.evidence_requests import VerdictRequest
from mlops_runtime.rollout.probation_share import ShareRequest
from mlops_runtime.rollout.rollout_verdict import VerdictFunction

_log = logging.getLogger("mlops.verdict")
_log.setLevel(logging.INFO)

FUNCTION = VerdictFunction(
    cloudwatch=boto3.client("cloudwatch"), s3=boto3.client("s3"), bucket=os.environ["ARTIFACTS_BUCKET"]
)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Return a ``RolloutVerdict`` for ``{"verdict", "since", "now"}``; ``since`` defaults to that of the plan.

    For ``{"share", "now"}``, return the allowed failures of a model during its probation.
    """
    del context
    if "share" in event:
        requested = from_dict(ShareRequest, event["share"])
        return dict(FUNCTION.share(requested, now=datetime.fromisoformat(event["now"])))
    request = from_dict(VerdictRequest, event["verdict"])
    request = replace(request, since=event.get("since") or request.since)
    found = FUNCTION.answer(request, now=datetime.fromisoformat(event["now"]))
    _log.info("%s of %s: %s", found.action, request.fleet, found.sentence)
    return dict(to_dict(found))
