"""Declaration of the unit's model: training set, evaluation, gate."""

from pathlib import Path

from examples.retail.dynamic_pricing.features import GROUP_SALES, GROUPS, KNOWN_BEFORE, SEGMENT
from mlops_constructs import EvaluationPlan, GateSpec, SegmentLimit, TrainingSetPlan

HERE = Path(__file__).parent

FEATURE_GROUPS = GROUPS
LOCK_FILE = HERE / "features.lock.json"
TRAINING_CODE = HERE / "training"
TRAINING_SCRIPT = "train.py"
GOLDEN = HERE / "golden.jsonl"
MAX_DEVIATION = 0.4  # median over golden requests, from what is live; models of later weeks differ by less

TRAINING_SET = TrainingSetPlan(
    name="pricing-elasticity",
    label_group=GROUP_SALES.name,
    timestamp="prediction_time",
    label="units",
    # by name, as a plan's JSON is kept: bagging of columns goes by their order
    features={group.name: group.feature_names for group in sorted(KNOWN_BEFORE, key=lambda group: group.name)},
    holdout_days=28,
)

EVALUATION = EvaluationPlan(
    label="units",
    metric="wape",
    block="store_id",
    baselines=("units_lag_1", "units_mean_4", "units_mean_8"),
    cluster="week",
    segments=(SEGMENT,),
    timestamp="prediction_time",
)

# prices are decided for weeks with a change, so the model must also be good in those weeks, not only on average
GATE = GateSpec(metric="wape", segments={f"{SEGMENT}=1": SegmentLimit(maximum_loss=0.75, minimum_rows=100)})
