"""Check captured responses of a rollout for readable numbers, and compare those of a shadow with the live model's."""

import logging
from datetime import datetime
from typing import Any

import boto3

from mlops_runtime.contracts import from_dict, to_dict
from mlops_runtime.rollout.evidence_requests import BodiesRequest, PairsRequest
from mlops_runtime.rollout.rollout_answers import AnswersFunction

_log = logging.getLogger("mlops.answers")
_log.setLevel(logging.INFO)

FUNCTION = AnswersFunction(s3=boto3.client("s3"))


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Return a ``BodyVerdict`` for ``{"bodies", "now"}``, and a ``PairsVerdict`` for ``{"pairs", "since", "now"}``."""
    del context
    now = datetime.fromisoformat(event["now"])
    if "pairs" in event:
        requested = from_dict(PairsRequest, event["pairs"])
        pairs = FUNCTION.pairs(requested, since=datetime.fromisoformat(event["since"]), now=now)
        _log.info("shadow of %s: %s", requested.endpoint, pairs.sentence)
        return dict(to_dict(pairs))
    request = from_dict(BodiesRequest, event["bodies"])
    found = FUNCTION.bodies(request, now=now)
    _log.info("%s: %s", request.endpoint, found.sentence)
    return dict(to_dict(found))
