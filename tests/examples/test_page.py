"""The page of a trip speaks the words of its unit, and shows what it had."""

import pytest
from examples.retail.page import Row, Week, Words, write_page

WORDS = Words(title="Customer behaviour", amount="buyers", loss="log loss", naive="own rate")
WEEKS = [
    Week(week=31, actual=700.0, forecast=690.0, loss=0.44, naive_loss=0.46, psi={"age": 0.02}, calls={"version 1": 88}),
    Week(
        week=33, actual=710.0, forecast=720.0, loss=0.45, naive_loss=0.46, psi={"age": 0.1}, calls={"version 2": 88},
        event="promoted",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("weeks", "plots"), [(WEEKS, 4), ([], 0)])
def test_a_page(tmp_path, weeks, plots):
    """Timeline and plots; a trip that stopped before its first period has no plots."""
    path = tmp_path / "new" / "page.html"
    row = Row(name="start", ok=False, seconds=1.0, detail="port <taken>")
    write_page(path, words=WORDS, ok=False, verdict="Stopped at: start.", note="n", rows=[row], weeks=weeks)
    page = path.read_text()
    assert page.count("<svg") == plots
    assert "Customer behaviour: one trip around the loop" in page
    assert "port &lt;taken&gt;" in page
    assert ("log loss of the live model and of the naive own rate" in page) is bool(weeks)
