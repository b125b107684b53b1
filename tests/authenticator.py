"""An authenticator app: one-time codes by RFC 6238 (HMAC-SHA-1, steps of 30 seconds, six digits)."""

import base64
import hashlib
import hmac
import struct
import time

STEP = 30


def code_of(secret: str, step: int) -> str:
    """Return the code of a time step since 1970."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    found = hmac.new(key, struct.pack(">Q", step), hashlib.sha1).digest()
    (number,) = struct.unpack_from(">I", found, found[-1] & 15)
    return f"{(number & 0x7FFFFFFF) % 1_000_000:06d}"


class Authenticator:
    """A user's authenticator; a user pool accepts each code once, so every call returns the code of a later step."""

    def __init__(self, secret: str) -> None:
        self.secret, self._last = secret, -1

    def code(self) -> str:
        """Return an unused code of the current or the next step; waits until one is available."""
        while self._last > time.time() // STEP:
            time.sleep(0.2)
        self._last = max(self._last + 1, int(time.time() // STEP))
        return code_of(self.secret, self._last)
