"""Credentials of sessions that services make by themselves: the same for the same purpose, and known to nobody else.

A session that is made again must keep its keys, since processes of it are running; names alone must not be enough to compute them,
since a function knows the names of all others.
"""

import hashlib
import hmac
import secrets

_KEY = secrets.token_bytes(32)  # of this run of the embedded cloud


def session_keys(purpose: str) -> tuple[str, str, str]:
    """Return access key id, secret access key and session token of a purpose.

    Args:
        purpose: What tells the session from others.
    """
    identifier, secret, token = (
        hmac.new(_KEY, f"{part}|{purpose}".encode(), hashlib.sha256).hexdigest() for part in ("id", "secret", "token")
    )
    return f"ASIA{identifier[:16].upper()}", secret, token
