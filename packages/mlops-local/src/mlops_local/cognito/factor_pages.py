"""Pages for the second factor: after the password, a user sets up an authenticator app or enters its code."""

import base64
import html
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import segno
from ministack.services import cognito

from mlops_local.cognito.refreshed_tokens import form
from mlops_local.cognito.second_factor import SETUP, enroll, refusal, required_challenge, takes_codes
from mlops_local.saved_state import kept_stores

Answer = tuple[int, dict[str, str], bytes]
_FIELD, _CODE_LASTS = "factor_token", 300


@dataclass(frozen=True, slots=True)
class _HeldSignIn:
    """A sign-in by password whose app gets its code after the second factor; ``secret`` is for an authenticator to set up."""

    code: str
    entry: dict[str, Any]
    answer: Answer
    expires: float
    secret: str

    @property
    def user(self) -> dict[str, Any] | None:
        """The user, if they may still sign in."""
        pool = cognito._get_pool_unscoped(self.entry["pool_id"]) or {}
        found: dict[str, Any] | None = (pool.get("_users") or {}).get(self.entry["username"])
        return found if found is not None and found.get("Enabled", True) else None


_held: dict[str, _HeldSignIn] = kept_stores.leave(__name__, "_held", {}, why="forms open in browsers")


def install() -> None:
    """Hold the response that MiniStack gives after the password alone."""
    cognito.handle_login_submit = partial(_submitted, cognito.handle_login_submit)


def issued_code(found: Answer) -> str:
    """Return the authorization code in a redirect to an app, or an empty string."""
    if found[0] != 302:
        return ""
    return parse_qs(urlsplit(found[1].get("Location", "")).query).get("code", [""])[0]


def client_of(fields: Mapping[str, str]) -> str:
    """Return the app client of the sign-in that a second-factor form belongs to, or an empty string."""
    held = _held.get(fields.get(_FIELD, ""))
    return "" if held is None else str(held.entry["client_id"])


def _submitted(  # noqa: PLR0917 - MiniStack's own signature
    submit: Any, method: str, path: str, headers: Mapping[str, str], body: bytes, query: dict[str, Any]
) -> Answer:
    given = form(body)
    if _FIELD in given:
        return _answered(given)
    found: Answer = submit(method, path, headers, body, query)
    code = issued_code(found)
    entry = cognito._authorization_codes.get(code)
    if entry is None:
        return found
    pool = cognito._get_pool_unscoped(entry["pool_id"])
    challenge = required_challenge(pool, pool["_users"][entry["username"]])
    if challenge is None:
        return found
    # claim: cognito-pages-set-up-the-second-factor
    del cognito._authorization_codes[code]
    if challenge == SETUP and not takes_codes(pool):
        refused: Answer = cognito._oauth2_error("access_denied", "The pool lets no one set up an authenticator app")
        return refused
    for key in [key for key, each in list(_held.items()) if each.expires < time.time()]:
        _held.pop(key, None)
    client = cognito._find_pool_by_client_id(entry["client_id"])[2]
    expires = time.time() + 60 * int(client.get("AuthSessionValidity", 3))
    token = secrets.token_urlsafe(24)
    secret = base64.b32encode(secrets.token_bytes(20)).decode() if challenge == SETUP else ""
    _held[token] = _HeldSignIn(code, entry, found, expires, secret)
    return _page(token)


def _answered(given: Mapping[str, str]) -> Answer:
    held = _held.get(given[_FIELD])
    user = None if held is None or held.expires < time.time() else held.user
    # an authenticator that was set up in a parallel sign-in remains
    if held is None or user is None or (held.secret and user.get("_totp_secret")):
        _held.pop(given[_FIELD], None)
        refused: Answer = cognito._oauth2_error("invalid_request", "Session has expired. Please sign in again.")
        return refused
    problem = refusal(user, held.secret or user["_totp_secret"], given.get("code", ""))
    if problem is not None:
        return _page(given[_FIELD], problem[1])
    if held.secret:
        enroll(user, held.secret)
    del _held[given[_FIELD]]
    cognito._authorization_codes[held.code] = {**held.entry, "expires_at": time.time() + _CODE_LASTS}
    return held.answer


def _page(token: str, problem: str = "") -> Answer:
    held = _held[token]
    parts = [f'<div class="error">{html.escape(problem)}</div>'] if problem else []
    if held.secret:
        issuer, person = (quote(held.entry[name], safe="") for name in ("pool_id", "username"))
        address = f"otpauth://totp/{issuer}:{person}?secret={held.secret}&issuer={issuer}"
        parts += [
            "<p>Scan the picture with an authenticator app, or add the key by hand. Then enter the code that it shows.</p>",
            # claim: cognito-pages-show-a-qr-code
            f'<p style="text-align:center;margin-bottom:16px">{_picture(address)}<br>',
            f'<a href="{html.escape(address)}"><code id="secret">{held.secret}</code></a></p>',
        ]
    parts += [
        '<form method="POST" action="/login">',
        f'<input type="hidden" name="{_FIELD}" value="{token}">',
        '<label for="code">Code</label>',
        '<input type="text" id="code" name="code" inputmode="numeric" autocomplete="one-time-code" pattern="[0-9]{6}" '
        'maxlength="6" required autofocus>',
        '<button type="submit">Sign in</button>',
        "</form>",
    ]
    heading = "Set up an authenticator app" if held.secret else "Enter a code of your authenticator app"
    content = cognito._page_shell(heading, heading, "\n".join(parts)).encode()
    return 200, {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"}, content


def _picture(address: str) -> str:
    """Return an address as a QR code (SVG)."""
    return str(segno.make_qr(address).svg_inline(scale=4, border=4, title="QR code of the key", light="white"))
