"""What the unit's stack declares about its model: training set, evaluation, gate."""

from pathlib import Path

from examples.retail.demand_forecasting.features import DEMAND_HISTORY, GROUPS, WEEK_PLAN, WEEKLY_DEMAND
from mlops_runtime.contracts.retraining import EvaluationPlan, GateSpec, TrainingSetPlan
from mlops_runtime.monitor.spec import MonitorSpec

HERE = Path(__file__).parent

FEATURE_GROUPS = GROUPS
LOCK_FILE = HERE / "features.lock.json"
TRAINING_CODE = HERE / "training"
TRAINING_SCRIPT = "train.py"

TRAINING_SET = TrainingSetPlan(
    name="demand-forecast",
    label_group=WEEKLY_DEMAND.name,
    timestamp="prediction_time",
    label="units",
    features={
        DEMAND_HISTORY.name: DEMAND_HISTORY.feature_names,
        WEEK_PLAN.name: WEEK_PLAN.feature_names,
    },
    holdout_days=56,  # eight weeks: with four, a gate that knows that weeks differ can show next to nothing (ADR 10)
)

EVALUATION = EvaluationPlan(
    label="units",
    block="store_id",
    baselines=("units_lag_1", "units_mean_4", "units_mean_8"),
    cluster="week",
    period="week",
    segments=("category",),
    # promoted is a category of which a quarter or more, by recent sales, is in the mailer; a series is small below 5 units a week,
    # and of the next size from twice as many on
    bands={"mailer_share": (0.25,), "units_mean_8": (5, 10, 20)},
    timestamp="prediction_time",
    max_unknown=0.01,  # the script keeps every category: one that a candidate does not know it was not trained on
)

# counts that were drawn around the mean of the last eight weeks would already miss it by 22 %: who is nearer has seen the labels
# 2 % is what an equal candidate needs to pass nine times in ten, at the standard errors measured on the unit's holdouts (ADR 10)
GATE = GateSpec(metric="wape", minimum_loss=0.22, max_regression=0.02)

# a week is one cluster: the previous month has enough data, and changes slowly enough for an alarm of its own; of quiet months
# at most one in twenty alarms by chance
SPEC = MonitorSpec(alarm_windows=1, of_windows=1, significance=0.05)

GOLDEN = HERE / "golden.jsonl"
# two trainings on the same weeks are a tenth apart, two seasons up to two; a forecast is asked for by a machine that waits, and
# a candidate that takes three times as long as the live model needs other instances
MAX_DEVIATION, MAX_MILLISECONDS, MAX_SLOWDOWN = 0.3, 1000, 3.0
