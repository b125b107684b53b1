"""Steps of a promotion after the copy of its objects: register and sign the package, decide, record."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.promotion.release_keeper import ReleaseKeeper

logging.getLogger().setLevel(logging.INFO)

KEEPER = ReleaseKeeper.from_environment(os.environ, boto3.client)
STEPS = {"keep": KEEPER.keep, "decide": KEEPER.decide, "record": KEEPER.record}


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Run one ``step`` of the Promote machine."""
    del context
    return STEPS[event["step"]](event)
