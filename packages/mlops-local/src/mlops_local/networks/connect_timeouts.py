"""A plugin of botocore in functions and jobs of a network: a service that is out of reach is a connect timeout, as on AWS.

There the SDK waits a minute for a connection, several times, and raises ``ConnectTimeoutError``; the embedded cloud answers at once
with the code :data:`CODE`, and this makes the same error of it. botocore loads what the variable :data:`VARIABLE` names with every
client; a botocore that does not know it raises ``ClientError`` with the code instead.
"""

from typing import Any

from botocore import exceptions

CODE = "ConnectTimeout"
VARIABLE = "BOTOCORE_EXPERIMENTAL__PLUGINS"
ENVIRONMENT = {VARIABLE: f"mlops={__name__}"}


class ConnectTimeoutError(exceptions.ConnectTimeoutError):
    """botocore's error, with what is missing behind it."""

    fmt = f"{exceptions.ConnectTimeoutError.fmt}: {{error}}"


def initialize_client_plugin(client: Any) -> None:
    """Watch the answers that a new client gets; botocore's name of the hook."""
    client.meta.events.register("after-call", _raise, unique_id="mlops-connect-timeouts")


def _raise(parsed: Any, **_: Any) -> None:
    # claim: interface-endpoints-need-names-and-rules
    error: Any = parsed.get("Error", {}) if isinstance(parsed, dict) else {}
    if error.get("Code") == CODE:
        url, _blank, reason = str(error.get("Message", "")).partition(" ")
        raise ConnectTimeoutError(endpoint_url=url, error=reason)
