"""Declaration of the unit's model: training set, evaluation, gate."""

from pathlib import Path

from examples.retail.customer_behavior.features import CATEGORY_PURCHASES, GROUPS, KNOWN_BEFORE
from mlops_constructs import EvaluationPlan, Facet, GateSpec, TrainingSetPlan

HERE = Path(__file__).parent

FEATURE_GROUPS = GROUPS
LOCK_FILE = HERE / "features.lock.json"
TRAINING_CODE = HERE / "training"
TRAINING_SCRIPT = "train.py"
REQUIREMENTS = HERE / "requirements.lock"
GOLDEN = HERE / "golden.jsonl"
MAX_DEVIATION = 0.4  # median over golden requests, from what is live; models of later weeks differ by less

TRAINING_SET = TrainingSetPlan(
    name="customer-propensity",
    label_group=CATEGORY_PURCHASES.name,
    timestamp="prediction_time",
    label="bought",
    # by name, as a plan's JSON is kept: bagging of columns goes by their order
    features={group.name: group.feature_names for group in sorted(KNOWN_BEFORE, key=lambda group: group.name)},
    holdout_days=28,
)

EVALUATION = EvaluationPlan(
    label="bought",
    metric="log_loss",
    block="household_id",
    baselines=("category_rate", "own_rate"),
    cluster="fortnight",
    timestamp="prediction_time",
    # offers go to likely buyers: old and poor households must not be left out more often than before
    facets=(Facet(name="age", values=("65+",)), Facet(name="income", values=("Under 15K", "15-24K"))),
)

GATE = GateSpec(metric="log_loss")
