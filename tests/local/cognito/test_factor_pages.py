"""Hosted pages complete a sign-in only after the second factor."""

import html
import re
import time
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
import segno
from tests.authenticator import STEP, Authenticator, code_of
from tests.local.cognito.conftest import App, Seen


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    """A pool with required MFA."""
    return make_app(mfa="ON")


def answer(app: App, page: Seen, code: str) -> Seen:
    """Submit a page's form with a code."""
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.body))
    return app.send("POST", "/login", urlencode({**fields, "code": code}))


def key_of(page: Seen) -> str | None:
    """Return the key shown on a page."""
    found = re.search(r'<code id="secret">(\w+)</code>', page.body)
    return found[1] if found else None


def test_the_first_sign_in_sets_up_an_authenticator(app: App) -> None:
    """The password alone gives no code and no session; later sign-ins ask for a code, and the key is not shown again."""
    page = app.sign_in()
    before = (page.status, page.back, dict(app.cookies), app.authorize(prompt="none").back["error"])
    authenticator = Authenticator(key_of(page) or "")
    first = answer(app, page, authenticator.code())
    silent = app.authorize(prompt="none")
    app.cookies.clear()
    later = app.sign_in()
    second = answer(app, later, authenticator.code())

    assert before == (200, {}, {}, "login_required")
    assert [app.exchange(each.back["code"]).status for each in (first, silent, second)] == [200] * 3
    assert (later.status, later.back, key_of(later)) == (200, {}, None)


def test_the_picture_is_of_the_key(app: App) -> None:
    """The QR code contains the link's address with pool and user; later sign-ins show none."""
    page = app.sign_in()
    (address,) = re.findall(r'<a href="(otpauth://totp/[^"]*)"', page.body)
    lines = segno.make_qr(html.unescape(address)).svg_inline(border=4).rpartition(' d="')[2].partition('"')[0]
    later = answer(app, page, Authenticator(key_of(page) or "").code())

    assert (lines in page.body, f":ann?secret={key_of(page)}&" in html.unescape(address)) == (True, True)
    assert "code" in later.back
    app.cookies.clear()
    assert "<svg" not in app.sign_in().body


def test_a_code_that_is_refused_may_be_given_again(app: App) -> None:
    """The same page shows the reason; then the right code is accepted."""
    page = app.sign_in()
    authenticator = Authenticator(key_of(page) or "")
    wrong = answer(app, page, code_of(authenticator.secret, int(time.time() // STEP) + 9))
    right = answer(app, wrong, authenticator.code())
    used = answer(app, app.sign_in(), code_of(authenticator.secret, authenticator._last))

    assert (wrong.status, "Invalid code received" in wrong.body, key_of(wrong)) == (200, True, authenticator.secret)
    assert ("code" in right.back, "already been used" in used.body) == (True, True)


def test_a_sign_in_is_ended_by_another_that_set_up_the_factor(app: App) -> None:
    """A page opened earlier cannot replace the key; no page can be sent twice or forged."""
    stale, page = app.sign_in(), app.sign_in()
    done = answer(app, page, Authenticator(key_of(page) or "").code())
    found = [answer(app, each, Authenticator(key_of(each) or "").code()) for each in (stale, page)]
    found.append(app.send("POST", "/login", urlencode({"factor_token": "x", "code": "123456"})))

    assert "code" in done.back
    assert [(each.status, "Session has expired" in each.body) for each in found] == [(400, True)] * 3


def test_a_disabled_person_does_not_pass(app: App) -> None:
    """The password was accepted before the user was disabled."""
    page = app.sign_in()
    app.cloud.client("cognito-idp").admin_disable_user(UserPoolId=app.pool, Username="ann")

    assert answer(app, page, Authenticator(key_of(page) or "").code()).status == 400
