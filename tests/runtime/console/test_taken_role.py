"""A role is assumed in a person's name, and again before its session expires."""

from datetime import timedelta

from mlops_local.cloud import Cloud
from mlops_runtime.cloud_connection import CloudConnection
from mlops_runtime.console.route import Role
from mlops_runtime.console.taken_role import take_role


def test_a_session_has_the_persons_name_and_the_time_of_the_cloud(
    cloud: Cloud, connection: CloudConnection, roles: dict[Role, str]
) -> None:
    """The embedded clock is asked with the caller's own keys."""
    taken = take_role(connection, roles[Role.READER], session="ann")

    assert taken.identity().arn.endswith(f":assumed-role/{roles[Role.READER].rpartition('/')[2]}/ann")
    assert taken.environment()["AWS_ACCESS_KEY_ID"] != connection.environment()["AWS_ACCESS_KEY_ID"]
    later = taken.now() + timedelta(minutes=1)  # back it is not moved, once alarms exist
    taken.move_clock(later)
    assert taken.now() >= later
