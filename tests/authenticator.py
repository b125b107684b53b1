"""An authenticator app: codes of a key by RFC 6238 (HMAC-SHA-1, steps of 30 seconds, six digits)."""

import base64
import hashlib
import hmac
import struct
import time

STEP = 30


def code_of(secret: str, step: int) -> str:
    """Return the code of a step since 1970."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    found = hmac.new(key, struct.pack(">Q", step), hashlib.sha1).digest()
    (number,) = struct.unpack_from(">I", found, found[-1] & 15)
    return f"{(number & 0x7FFFFFFF) % 1_000_000:06d}"


class Authenticator:
    """A person's app; a pool takes each code once, so it gives that of a later step each time."""

    def __init__(self, secret: str) -> None:
        self.secret, self._last = secret, -1

    def code(self) -> str:
        """Return a code that was not given before, of now or of the step to come; wait until there is one."""
        while self._last > time.time() // STEP:
            time.sleep(0.2)
        self._last = max(self._last + 1, int(time.time() // STEP))
        return code_of(self.secret, self._last)
