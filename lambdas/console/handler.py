"""The console's API behind API Gateway, with the roles of the signed-in user."""

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
    """Handle one request of a user whom the authorizer has verified."""
    del context
    return CONSOLE.answer(event)
