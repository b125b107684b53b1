"""The page of the demo over accounts: columns by account, rows by time, and a run that stopped early."""

from pathlib import Path

from examples.retail.accounts_page import Account, Event, write_accounts_page
from examples.retail.page import Row

ONE, TWO = "a" * 64, "b" * 64
ACCOUNTS = [
    Account(name="build", number="111111111111", region="us-east-1", state="trains", facts=("knows <b>",)),
    Account(name="staging", number="222222222222", region="us-east-1", state="serves", version="2", digest=TWO),
]
EVENTS = [
    Event(at="2017-07-24T13:48:44Z", account="staging", word="rolled back", text="back", digest=ONE, is_bad=True),
    Event(at="2017-07-24T13:27:05Z", account="build", word="released", text="first", digest=ONE),
]


def page(path: Path, accounts: list[Account], events: list[Event]) -> str:
    """Write a page and return it."""
    row = Row(name="start", ok=False, seconds=1.0, detail="port <taken>")
    write_accounts_page(
        path, title="t", ok=False, verdict="Stopped at: start.", note="n", rows=[row], accounts=accounts, events=events
    )
    return path.read_text()


def test_records_are_in_the_order_of_time_each_in_the_column_of_its_account(tmp_path: Path) -> None:
    """The order does not depend on that of the chains."""
    text = page(tmp_path / "page.html", ACCOUNTS, EVENTS)

    assert text.index("first") < text.index('<span class="word bad-word">rolled back</span>')
    assert ("--row: 1; --lane: 1" in text, "--row: 2; --lane: 2" in text) == (True, True)
    assert "knows &lt;b&gt;" in text


def test_a_model_has_one_letter_wherever_it_serves(tmp_path: Path) -> None:
    """Letters are assigned by hash, in the order of appearance."""
    text = page(tmp_path / "page.html", ACCOUNTS, EVENTS)

    assert text.count('<span class="model model-A">model A</span>') == 2
    assert text.count('<span class="model model-B">model B</span>') == 1


def test_a_run_that_stopped_early_has_its_steps(tmp_path: Path) -> None:
    """The page has no empty columns."""
    text = page(tmp_path / "new" / "page.html", [], [])

    assert "port &lt;taken&gt;" in text
    assert '<ol class="line">' not in text
