"""A notebook's use of a unit and its models, found by the entries that its stacks publish, with a server that adds 1."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from tests.runtime.client.world import EXAMPLES, PIPELINE

from mlops_runtime.client import Model, PredictionError, RefusedError, Unit, UnitError, unit_client
from mlops_runtime.contracts import canonical_json, to_dict
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.retraining import Decision, GuardDecision
from mlops_runtime.contracts.serving import PersonalSpec
from mlops_runtime.labels.label_rows import LabelError
from mlops_runtime.monitor.stored_reports import report_folder
from mlops_runtime.retraining.retraining_request import RetrainingOutcome, RetrainingRequests
from mlops_runtime.retraining.run_comparison import RunError
from mlops_runtime.training_data.published_set import PublishError

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Retrain:one"


def _model(account: Any) -> Model:
    return Unit.connect("demand", session=account.session).model("forecast")


def _decided(account: Any, monkeypatch: pytest.MonkeyPatch, decision: Decision, **changes: Any) -> list[Any]:
    """Let the guard answer; return what is asked."""
    made = GuardDecision(decision=decision, event_id="e1", at="2017-08-20T09:30:00Z", reason="r", **changes)
    item = {name: {"S": value} for name, value in to_dict(made).items()}
    key = {"pipeline": {"S": "demand-forecast"}, "item": {"S": "EVENT#e1"}}
    account.client("dynamodb").put_item(TableName="retraining", Item={**key, **item})
    requests: list[Any] = []

    def send(_: Any, candidate: Any = None, **facts: str) -> str:
        requests.append((candidate, facts["reason"]))
        return "e1"

    monkeypatch.setattr(RetrainingRequests, "send", send)
    return requests


def _rows(first: str, count: int = 40) -> pd.DataFrame:
    at = [pd.Timestamp(first, tz="UTC") + pd.Timedelta(hours=hour) for hour in range(count)]
    return pd.DataFrame({"at": at, "store": [f"s{i % 12}" for i in range(count)], "price": 2.0, "units": range(count)})


def test_both_splits_are_published_where_the_pipeline_reads(account: Any) -> None:
    """With the naive baselines that it declares, and the manifest."""
    made = _model(account).publish(_rows("2017-08-01"), pa.Table.from_pandas(_rows("2017-08-10")))
    assert (made["train_rows"], made["holdout_rows"], made["place"]) == (40, 40, "s3://data/exports/forecast")
    keys = [each["Key"] for each in account.client("s3").list_objects_v2(Bucket="data")["Contents"]]
    assert keys == [
        f"exports/forecast/{name}"
        for name in ("holdout/part-0.parquet", "manifest/manifest.json", "train/part-0.parquet")
    ]
    with pytest.raises(PublishError, match="the training split must end before the holdout begins"):
        _model(account).publish(_rows("2017-08-10"), _rows("2017-08-01"))


def test_a_pipeline_that_builds_its_sets_takes_none(account: Any) -> None:
    """It says what to declare."""
    account.publish(replace(PIPELINE, training_set=None))
    with pytest.raises(UnitError, match=r"does not read published training sets; declare TrainingSetSource\.s3"):
        _model(account).publish(_rows("2017-08-01"), _rows("2017-08-10"))


def test_a_training_is_asked_waited_for_and_read(account: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the caller's own name; its log and evidence are there."""
    requested = _decided(account, monkeypatch, Decision.STARTED, execution=EXECUTION)
    account.client("stepfunctions").start_execution(stateMachineArn=PIPELINE.retrain_machine, name="one")
    run = _model(account).train(reason=" new prices ")
    assert (run.id, run.decision.decision, requested) == ("one", Decision.STARTED, [(None, "new prices")])
    outcomes = iter([None, RetrainingOutcome(outcome="REJECTED", reason="worse")])
    monkeypatch.setattr(RetrainingRequests, "outcome", lambda *_: next(outcomes))
    monkeypatch.setattr(unit_client, "_LOOK_SECONDS", 0.0)
    assert run.wait().details.run.id == "one"
    monkeypatch.setattr(RetrainingRequests, "outcome", lambda *_: None)
    with pytest.raises(TimeoutError, match="one has not ended within 0 s and continues; call wait again"):
        run.wait(timeout=0)
    assert (run.evaluation, run.gate) == (None, None)
    with pytest.raises(RunError, match="one has no log of train or evaluate"):
        run.log()


def test_a_refusal_is_an_error_with_the_decision(account: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And when the guard would accept; silence is another."""
    _decided(account, monkeypatch, Decision.OVER_BUDGET, free_at="2017-08-21T00:00:00Z")
    with pytest.raises(RefusedError, match="the guard answered OVER_BUDGET: r; request it again tomorrow") as found:
        _model(account).train(reason="r")
    assert found.value.decision.free_at == "2017-08-21T00:00:00Z"
    monkeypatch.setattr(RetrainingRequests, "decision", lambda *_: None)
    monkeypatch.setattr(unit_client, "_GUARD_SECONDS", 0)
    with pytest.raises(UnitError, match=r"has not decided on event e1 within 0 s; .* dead-letter queue of guard"):
        _model(account).train(reason="r")
    with pytest.raises(UnitError, match="reason must be a non-blank string"):
        _model(account).train(reason=" ")


def test_a_model_made_elsewhere_is_registered(account: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Uploaded and asked for; what would be refused later is refused before."""
    requested = _decided(account, monkeypatch, Decision.STARTED, execution=EXECUTION)
    signature = ModelSignature(inputs=(SignatureColumn(name="price", type="number"),), output="units")
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    (tmp_path / "signature.json").write_bytes(canonical_json(signature))
    assert _model(account).register(tmp_path).id == "one"
    (candidate, reason), *_ = requested
    assert (reason, candidate.uri.startswith("s3://artifacts/registered/demand-forecast/")) == (
        "a model made elsewhere",
        True,
    )
    (tmp_path / "signature.json").write_bytes(canonical_json(replace(signature, kind="probability")))
    with pytest.raises(UnitError, match="of kind 'probability', demand-forecast measures wape"):
        _model(account).register(tmp_path)
    assert len(requested) == 1


def test_a_model_that_was_brought_before_is_its_run(
    account: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Which is read, and not waited for: its execution may be forgotten."""
    _decided(account, monkeypatch, Decision.KNOWN, execution=EXECUTION, outcome="REJECTED")
    monkeypatch.setattr(RetrainingRequests, "outcome", lambda *_: None)
    signature = ModelSignature(inputs=(SignatureColumn(name="price", type="number"),), output="units")
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    (tmp_path / "signature.json").write_bytes(canonical_json(signature))
    run = _model(account).register(tmp_path)
    assert (run.id, run.decision.outcome) == ("one", "REJECTED")
    with pytest.raises(RunError, match="run 'one' of demand-forecast not found"):
        run.wait(timeout=0)
    _decided(account, monkeypatch, Decision.KNOWN)
    with pytest.raises(RefusedError, match="r"):
        _model(account).register(tmp_path)


def test_runs_are_listed_shown_and_compared(account: Any) -> None:
    """By the history that ``mlops runs`` reads."""
    assert len(_model(account).runs()) == 0
    with pytest.raises(RunError, match="has no run yet"):
        _model(account).run()
    account.client("stepfunctions").start_execution(stateMachineArn=PIPELINE.retrain_machine, name="one")
    assert [run.id for run in _model(account).runs(last=3)] == ["one"]
    assert _model(account).run("one").details.run.outcome == "RUNNING"
    with pytest.raises(RunError, match="one and one have no evaluation to compare"):
        _model(account).compare("one", "one")


def test_the_live_version_is_told(account: Any) -> None:
    """As the endpoint's row has it."""
    text = (EXAMPLES / "LivePointer.json").read_text()
    account.client("dynamodb").put_item(
        TableName="rollout", Item={"endpoint": {"S": "demand-forecast"}, "live": {"S": text}}
    )
    live = _model(account).live()
    assert live is not None
    assert live.version == int(live.pointer.model_package_arn.rpartition("/")[2])


def test_predictions_come_in_the_rows_order(account: Any, served: Any) -> None:
    """Of any table, in calls of at most 2,000 rows; nothing is known of the model's columns here, so all are sent."""
    found = _model(account).predict(pd.DataFrame({"price": range(4500)}))
    assert list(found) == [price + 1 for price in range(4500)]
    assert sorted(len(rows) for rows in served.got) == [500, 2000, 2000]
    assert list(_model(account).predict(pa.table({"price": [1.5]}))) == [2.5]
    assert list(_model(account).predict([{"price": 1}, {"price": 2}])) == [2, 3]


def test_the_live_models_columns_are_sent_alone(account: Any, served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the caller may read its baseline; integers of a text column are texts."""
    monkeypatch.setattr(unit_client, "live_baseline", lambda *_: "baseline")
    inputs = unit_client.ModelInputs(names=("price", "store"), texts=frozenset({"store"}))
    monkeypatch.setattr(unit_client.ModelInputs, "of", lambda _: inputs)
    _model(account).predict([{"units": 9, "store": 7, "price": 1}])
    assert served.got == [[{"price": 1, "store": "7"}]]
    with pytest.raises(
        UnitError, match="no column can be sent: the inputs of the live model are price, store, the rows have units"
    ):
        _model(account).predict([{"units": 9}])


def test_a_refused_call_is_an_error_that_has_the_others(account: Any) -> None:
    """With the first row of what failed, and why."""
    rows = [{"price": -1 if row == 2500 else row} for row in range(4500)]
    with pytest.raises(PredictionError, match="2000 of 4500 rows were not predicted; from row 2001: 400") as found:
        _model(account).predict(rows)
    assert sum(len(call.predictions) for call in found.value.calls) == 2500


def test_ids_are_sent_and_labels_join_on_them(account: Any) -> None:
    """Put twice, nothing is written again; a column that is not there is named."""
    rows = pd.DataFrame({"order": ["a", "b", "c"], "price": [1, 2, 3], "sold": [2.0, 3.0, None]})
    found = _model(account).predict(rows, ids="order")
    assert (found.ids, list(found)) == (("a", "b", "c"), [2, 3, 4])
    first = _model(account).labels(rows, ids="order", value="sold")
    assert (first["added"], first["nulls"], first["unknown"]) == (2, 1, 0)
    again = _model(account).labels(rows, ids="order", value="sold")
    assert (again["added"], again["unchanged"]) == (0, 2)
    with pytest.raises(UnitError, match="the rows have no column 'no-such', they have order, price, sold"):
        _model(account).labels(rows, ids="no-such", value="sold")
    with pytest.raises(LabelError, match="an id is the same as that of another row in 1 row"):
        _model(account).predict([{"order": "a", "price": 1}, {"order": "a", "price": 2}], ids="order")


def test_personal_fields_do_not_leave(account: Any, served: Any) -> None:
    """They are left out, or hashed, before a call is made."""
    account.publish(replace(account.endpoint, personal=PersonalSpec(withheld=("email",))))
    _model(account).predict([{"email": "a@b.example", "price": 1}])
    assert served.got == [[{"price": 1}]]


def test_the_newest_report_is_read(account: Any) -> None:
    """None before the first."""
    assert _model(account).report() is None
    at = datetime.fromisoformat("2017-08-20T09:30:00+00:00") - timedelta(hours=2)
    account.client("s3").put_object(
        Bucket="artifacts",
        Key=f"{report_folder('demand-forecast', at)}/report.json",
        Body=(EXAMPLES / "MonitorReport.json").read_bytes(),
    )
    found = _model(account).report()
    assert found is not None
    assert found.verdict == found.report.verdict


def test_a_unit_and_its_models_are_found(account: Any) -> None:
    """A model by its short or whole name; one may have an endpoint alone."""
    unit = Unit.connect("demand", session=account.session)
    assert unit.name == "demand"
    assert unit.model("forecast").live() is None
    assert unit.model("demand-forecast").live() is None
    account.client("ssm").delete_parameter(Name="/mlops/demand/pipeline/demand-forecast")
    alone = unit.model("forecast")
    assert alone.live() is None
    with pytest.raises(UnitError, match="demand-forecast has no RetrainingPipeline; declare one"):
        alone.train(reason="r")


def test_a_pipeline_may_have_no_endpoint(account: Any) -> None:
    """Then nothing is predicted."""
    account.client("ssm").delete_parameter(Name="/mlops/demand/endpoint/demand-forecast")
    with pytest.raises(UnitError, match="demand-forecast has no ModelEndpoint; declare one"):
        Unit.connect("demand", session=account.session).model("forecast").predict([{"price": 1}])


def test_fails_by_name(account: Any) -> None:
    """With what shows what there is."""
    with pytest.raises(UnitError, match="business unit 'no-such' not found at https://ssm"):
        Unit.connect("no-such", session=account.session)
    with pytest.raises(
        UnitError, match="has no pipeline or endpoint 'demand-price'; list them with: mlops status demand"
    ):
        Unit.connect("demand", session=account.session).model("price")
