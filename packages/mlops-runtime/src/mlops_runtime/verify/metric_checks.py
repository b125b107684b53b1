"""Checks of CloudWatch: an alarm on a metric without values, error counts for each response, and logs."""

from collections.abc import Callable
from datetime import timedelta

from mlops_runtime.refused_calls import Tolerated
from mlops_runtime.verify.account import Place
from mlops_runtime.verify.problems import CheckError, NoEvidenceError, expect
from mlops_runtime.verify.unit import Deployed

_ERRORS = ("InvocationModelErrors", "Invocation5XXErrors")
_DAY = 86400
_QUARTER = 0.25  # of the longest wait, since CloudWatch publishes within minutes


class MetricChecks:
    """The checks of metrics, alarms and logs; each returns its evidence or raises ``CheckError``."""

    def __init__(self, place: Place, deployed: Deployed, beat: Callable[[], None]) -> None:
        self._place, self._deployed, self._beat = place, deployed, beat
        self._cloudwatch, self._endpoint = place.client("cloudwatch"), deployed.outputs["EndpointName"]

    def fill_gives_its_number(self) -> str:
        """An alarm on ``FILL(m, 0)`` of a metric that never had a datapoint goes to OK."""
        unit = self._place.names.unit
        name = f"{unit}-fill"
        nothing = {"Namespace": f"MLOps/{unit}", "MetricName": "Nothing"}
        self._cloudwatch.put_metric_alarm(
            AlarmName=name,
            Metrics=[
                {"Id": "m", "MetricStat": {"Metric": nothing, "Period": 60, "Stat": "Sum"}, "ReturnData": False},
                {"Id": "filled", "Expression": "FILL(m, 0)", "ReturnData": True},
            ],
            ComparisonOperator="GreaterThanThreshold",
            Threshold=1.0,
            EvaluationPeriods=1,
            TreatMissingData="missing",  # so that without a number the alarm stays in INSUFFICIENT_DATA
            Tags=self._place.names.tag_list,
        )

        def state() -> str:
            (found,) = self._cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
            return str(found["StateValue"])

        try:
            self._place.wait(
                lambda: None if state() == "INSUFFICIENT_DATA" else True,
                "a state of an alarm on FILL(m, 0), which is INSUFFICIENT_DATA",
                beat=self._beat,
                share=_QUARTER,
            )
            found = state()
        finally:
            self._cloudwatch.delete_alarms(AlarmNames=[name])
        expect(found == "OK", f"an alarm on FILL(m, 0) > 1 of a metric without a datapoint is {found}")
        return "FILL(m, 0) of a metric that never had a datapoint is 0: the alarm is OK"

    def errors_are_counted_for_each_answer(self) -> str:
        """Both error metrics have one value for each call, and some values are errors, such as for a request that is not JSON."""
        with Tolerated("ModelError"):
            self._place.client("sagemaker-runtime").invoke_endpoint(
                EndpointName=self._endpoint, ContentType="application/json", Body=b"{"
            )
        last: dict[str, tuple[float, float]] = {}

        def settled() -> bool | None:
            last.update({name: self._counted(name) for name in ("Invocations", *_ERRORS)})
            calls = last["Invocations"][0]
            return True if calls and all(last[name][1] == calls for name in _ERRORS) else None

        try:
            self._place.wait(settled, "metrics of errors", beat=self._beat, share=_QUARTER)
        except CheckError as error:
            shown = ", ".join(f"{name} has {last[name][1]:.0f} values" for name in _ERRORS)
            raise CheckError(f"of {last['Invocations'][0]:.0f} calls {shown}") from error
        if not last[_ERRORS[0]][0]:
            raise NoEvidenceError("no call has failed")
        shown = ", ".join(f"{name} {last[name][1]:.0f} values, sum {last[name][0]:.0f}" for name in _ERRORS)
        return f"{last['Invocations'][0]:.0f} calls; {shown}"

    def logs_come_from_sagemakers_network(self) -> str:
        """The endpoint's containers log although the unit's network has no endpoint of CloudWatch Logs."""
        reached = [name for name in self._deployed.interface_services if name.endswith(".logs")]
        if reached:
            raise NoEvidenceError(f"the network has {reached[0]}")
        group, logs = f"/aws/sagemaker/Endpoints/{self._endpoint}", self._place.client("logs")

        def streams() -> int | None:
            found = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
            if not any(row["logGroupName"] == group for row in found):
                return None
            rows = logs.describe_log_streams(logGroupName=group)["logStreams"]
            return sum("lastEventTimestamp" in row for row in rows) or None

        count = self._place.wait(streams, "a line in the endpoint's logs", beat=self._beat, share=_QUARTER)
        return f"{count} log streams with lines; {len(self._deployed.interface_services)} endpoints, none of logs"

    def _counted(self, metric: str) -> tuple[float, float]:
        """Return sum and number of a metric's values since the deployment."""
        rows = self._cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[
                {"Name": "EndpointName", "Value": self._endpoint},
                {"Name": "VariantName", "Value": self._variant()},
            ],
            StartTime=self._deployed.since - timedelta(minutes=1),
            EndTime=self._place.now() + timedelta(minutes=1),
            Period=_DAY,
            Statistics=["Sum", "SampleCount"],
        )["Datapoints"]
        return sum(row["Sum"] for row in rows), sum(row["SampleCount"] for row in rows)

    def _variant(self) -> str:
        sagemaker = self._place.client("sagemaker")
        described = sagemaker.describe_endpoint(EndpointName=self._endpoint)
        return str(described["ProductionVariants"][0]["VariantName"])
