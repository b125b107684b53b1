"""Names of a function's errors, read from the traceback that its worker reports."""

import traceback
from collections.abc import Callable
from typing import Any

import pytest

from mlops_local.functions import error_type


class LockBusyError(Exception):
    """An exception of a module."""


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ValueError("bad"), "ValueError"),
        (LockBusyError("held\nby x"), "LockBusyError"),
        (KeyError("key"), "KeyError"),
        (ValueError(), "ValueError"),
        (ValueError("ends with: colon: "), "ValueError"),
    ],
)
def test_error_has_the_name_of_its_class(error: Exception, name: str) -> None:
    """Whatever the message is: several lines, none, with colons."""
    try:
        raise error
    except type(error):
        log = "START\n" + traceback.format_exc()
    assert error_type(log, str(error)) == name


@pytest.mark.parametrize("log", ["", "Task timed out after 3.00 seconds", "Worker process died"])
def test_keeps_what_is_no_exception(log: str) -> None:
    """A time-out and a dead worker have no class."""
    assert error_type(log, log) is None


def test_a_log_group_that_was_deleted_is_not_made_again(cloud: Any, make_function: Callable[..., str]) -> None:
    """A function that names its group writes there while it exists; after that its lines are lost, and it still answers."""
    logs, client, group = cloud.client("logs"), cloud.client("lambda"), "named-group"
    code = {"handler.py": "def handler(event, context):\n    print('seen')\n    return 1\n"}
    make_function(cloud, "named-logs", code)
    client.update_function_configuration(FunctionName="named-logs", LoggingConfig={"LogGroup": group})
    logs.create_log_group(logGroupName=group)
    assert client.invoke(FunctionName="named-logs")["Payload"].read() == b"1"
    assert logs.describe_log_streams(logGroupName=group)["logStreams"]
    logs.delete_log_group(logGroupName=group)

    assert client.invoke(FunctionName="named-logs")["Payload"].read() == b"1"

    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"] == []
