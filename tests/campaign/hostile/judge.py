"""Faults in the responses to one attack; each fault is named."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.campaign.hostile.wire import Attack, Reply

# internals of a program, which no response may show
_TRACE = re.compile(rb'Traceback|File "[^"]+", line \d|[a-z_]+\.py\b|site-packages|Exception in|at 0x[0-9a-f]{6,}')
_UNKNOWN = (401, 403)  # for unknown or unauthorized callers


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A target of attacks, and what its responses must not contain.

    Args:
        name: Name of the target.
        address: Address of its server.
        secrets: Bytes that no response contains.
        of_the_account: Bytes that no response to an unknown or unauthorized caller contains. Default: none.
    """

    name: str
    address: tuple[str, int]
    secrets: tuple[bytes, ...]
    of_the_account: tuple[bytes, ...] = ()

    def faults(self, attack: Attack, answers: Sequence[Reply]) -> list[str]:
        """Return the faults of the responses.

        Example:
            >>> door = Door(name="api", address=("127.0.0.1", 1), secrets=(b"arn:aws",))
            >>> door.faults(Attack(kind="path", raw=b"GET / HTTP/1.1"), [Reply(500, {}, b"no arn:aws:iam::1:role/a")])
            ['answers 500', "says 'arn:aws'"]
        """
        found = [] if answers or not attack.is_http else ["closed without an answer"]
        for reply in answers:
            found += self._of(attack, reply)
        return found

    def _of(self, attack: Attack, reply: Reply) -> list[str]:
        whole = reply.body + b"\n" + "\n".join(reply.headers.values()).encode("latin-1", "replace")
        secrets = (*self.secrets, *(self.of_the_account if reply.status in _UNKNOWN else ()))
        leaked = [secret.decode() for secret in secrets if secret in whole and secret not in attack.raw]
        is_page = reply.headers.get("content-type", "").startswith("text/html") and reply.status >= 400
        return [
            *([f"answers {reply.status}"] if reply.status >= 500 else []),
            *(f"says {each!r}" for each in leaked),
            *(["says where its code failed"] if _TRACE.search(whole) else []),
            *(["lets a header in"] if "x-injected" in reply.headers else []),
            *(["is a page, which may show what was sent"] if is_page else []),
        ]
