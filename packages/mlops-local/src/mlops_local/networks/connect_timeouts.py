"""A botocore plugin in functions and jobs of a VPC: an unreachable service raises a connect timeout, as in AWS.

There the SDK waits a minute for a connection, several times, and raises ``ConnectTimeoutError``. The embedded cloud responds at
once with the code :data:`CODE`, which this plugin turns into the same error. botocore loads the plugin named in the variable
:data:`VARIABLE` for every client; a botocore without plugins raises ``ClientError`` with the code instead.
"""

from typing import Any

from botocore import exceptions

CODE = "ConnectTimeout"
VARIABLE = "BOTOCORE_EXPERIMENTAL__PLUGINS"
ENVIRONMENT = {VARIABLE: f"mlops={__name__}"}


class ConnectTimeoutError(exceptions.ConnectTimeoutError):
    """botocore's error, with the missing part of the network."""

    fmt = f"{exceptions.ConnectTimeoutError.fmt}: {{error}}"


def initialize_client_plugin(client: Any) -> None:
    """Register for the responses of a new client; the name is botocore's hook."""
    client.meta.events.register("after-call", _raise, unique_id="mlops-connect-timeouts")


def _raise(parsed: Any, **_: Any) -> None:
    # claim: interface-endpoints-need-names-and-rules
    error: Any = parsed.get("Error", {}) if isinstance(parsed, dict) else {}
    if error.get("Code") == CODE:
        url, _blank, reason = str(error.get("Message", "")).partition(" ")
        raise ConnectTimeoutError(endpoint_url=url, error=reason)
