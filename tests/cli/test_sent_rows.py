"""Columns of a file that an endpoint receives, and their types."""

from pathlib import Path
from typing import Any

import boto3
import pytest

from mlops_cli.aws_account import Account, UserError
from mlops_cli.sent_rows import SentRows
from mlops_runtime.contracts.monitor import Baseline, FeatureBaseline
from mlops_runtime.contracts.unit_entries import EndpointEntry
from mlops_runtime.serving import live_baseline

ENTRY = EndpointEntry(
    endpoint="crm-churn",
    unit="crm",
    group="crm-churn",
    rollout_table="t",
    deploy_machine="m",
    target="sagemaker",
    is_monitored=True,
)
BASELINE = Baseline(
    features=(
        FeatureBaseline(name="price", type="number", counts=(1,)),
        FeatureBaseline(name="store", type="category", counts=(1,)),
    ),
    rows=1,
    training_set_id="t",
    created="2017-08-07",
)


def _open(
    folder: Path, patch: pytest.MonkeyPatch, baseline: Baseline | None, *, ids: str | None = None, **options: Any
) -> SentRows:
    path = folder / "rows.csv"
    path.write_text("order,day,store,price,units\no1,2017-08-07,7,1.5,10\no2,2017-08-08,8,,20\n")
    patch.setattr(live_baseline, "live_baseline", lambda *_: baseline)
    return SentRows.open(path, ENTRY, Account(session=boto3.Session(), options={}), ids=ids, **options)


def test_the_live_models_columns_are_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other columns are reported; a string column stays text although its values are numeric."""
    sent = _open(tmp_path, monkeypatch, BASELINE, ids="order", others=["day"])
    assert (sent.columns, sent.ids) == (("store", "price"), ["o1", "o2"])
    assert list(sent.rows()) == [{"price": 1.5, "store": "7"}, {"price": None, "store": "8"}]
    assert capsys.readouterr().err == "not sent: units\n"


def test_without_a_baseline_the_caller_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All columns but id, time and excluded ones."""
    sent = _open(tmp_path, monkeypatch, None, ids="order", others=["day"], leave_out=["units"], texts=["store"])
    assert capsys.readouterr().err == ""  # requested explicitly
    assert list(sent.rows()) == [{"store": "7", "price": 1.5}, {"store": "8", "price": None}]
    assert _open(tmp_path, monkeypatch, None).columns == ("order", "day", "store", "price", "units")


def test_an_id_may_be_an_input_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row contains it too."""
    assert _open(tmp_path, monkeypatch, BASELINE, ids="store").columns == ("store", "price")


def test_fails_where_no_column_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the columns of file and model."""
    with pytest.raises(
        UserError, match=r"no column of rows.csv can be sent, .*; the inputs of the live model are price, store"
    ):
        _open(tmp_path, monkeypatch, BASELINE, leave_out=["price", "store"])
    with pytest.raises(UserError, match="has no column 'shop'"):
        _open(tmp_path, monkeypatch, None, leave_out=["shop"])
