"""The console's API behind API Gateway: each person acts in the roles that people have."""

import logging
import os
from typing import Any

from mlops_runtime.console.hosted import HostedConsole
from mlops_runtime.console.route import Role

logging.getLogger().setLevel(logging.INFO)

CONSOLE = HostedConsole(
    roles={
        Role.READER: os.environ["READER_ROLE"],
        Role.ON_CALL: os.environ["ON_CALL_ROLE"],
        Role.APPROVER: os.environ["APPROVER_ROLE"],
    }
)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one request of a person whom the authorizer has checked."""
    del context
    return CONSOLE.answer(event)
