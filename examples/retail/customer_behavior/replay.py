"""Description of the unit for its trip."""

from examples.retail.customer_behavior import data
from examples.retail.customer_behavior.declaration import FEATURE_GROUPS, TRAINING_CODE
from examples.retail.page import Words
from examples.retail.replay import Replay, log_loss

REPLAY = Replay(
    stack="CustomerBehavior",
    unit="customer",
    period="fortnight",
    weeks=2,
    tables=len(FEATURE_GROUPS),
    ingest=data.ingest_fortnights,
    requests=data.requests_for_fortnight,
    labels=data.labels_for_fortnight,
    naive=lambda fortnight: data.pairs_of(fortnight)["own_rate"].to_pylist(),
    loss=log_loss,
    words=Words(title="Customer behaviour", amount="buyers", loss="log loss", naive="own rate"),
    bad_script=TRAINING_CODE / "compiled.py",
    refused_script=TRAINING_CODE / "scorecard.py",
    whole_every=3,
    is_manual=True,
    rows_per_call=250,  # a campaign asks about many households at once
)
