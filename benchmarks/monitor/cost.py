"""``python -m benchmarks.monitor.cost [startup minutes]``: GB-seconds per million records, and minutes from request to alarm.

Arithmetic over the last results of `benchmarks.monitor.job`; each step is printed. CPU seconds, memory and objects are
measurements. The CPU share of a function and the instance size are documented by AWS. The start-up time of a processing
job is neither measured nor documented, and is marked as assumed.

See: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html (one vCPU at 1,769 MB) and
https://aws.amazon.com/sagemaker/ai/pricing/ (instances)
"""

import json
import sys
from dataclasses import dataclass

from benchmarks.monitor.job import RESULTS

MILLION = 1_000_000
VCPU_MB = 1769
COUNT_MB, DECIDE_MB = 512, 1024  # ModelMonitor's functions
INSTANCE, VCPUS, INSTANCE_GB = "ml.m5.xlarge", 4, 16
STARTUP_MINUTES = 4.0
# minutes of a window, and the longest delay of the schedule after it: a rate counts from the deployment, a day ends at six
PERIODS = {"hourly": (60.0, 60.0), "daily": (24 * 60.0, 0.0)}
WINDOWS_TO_ALARM = 2  # MonitorSpec.alarm_windows


@dataclass(frozen=True, slots=True)
class Engine:
    """Cost of an engine for a million records.

    Args:
        gb_seconds: Billed memory by time.
        minutes: Time from the schedule to the report.
    """

    gb_seconds: float
    minutes: float


def functions(count_cpu: float, decide_cpu: float, objects: float) -> Engine:
    """Print the arithmetic of the Lambda engine and return its result."""
    count, decide = count_cpu * VCPU_MB / COUNT_MB, decide_cpu * VCPU_MB / DECIDE_MB
    gb_seconds = (count * COUNT_MB + decide * DECIDE_MB) / 1024
    print(f"\nLAMBDA: a function counts each of {objects:.0f} objects as it lands, one decides")
    print(f"  count   {count_cpu:.1f} CPU s x {VCPU_MB}/{COUNT_MB} = {count:.1f} s of {COUNT_MB} MB")
    print(f"  decide  {decide_cpu:.1f} CPU s x {VCPU_MB}/{DECIDE_MB} = {decide:.1f} s of {DECIDE_MB} MB")
    print(f"  together {gb_seconds:.0f} GB-seconds; schedule to report {decide / 60:.1f} min")
    return Engine(gb_seconds, decide / 60)


def job(count_cpu: float, decide_s: float, startup: float, peak_mb: float) -> Engine:
    """Print the arithmetic of the job engine and return its result."""
    seconds = count_cpu / VCPUS + decide_s
    gb_seconds, minutes = seconds * INSTANCE_GB, startup + seconds / 60
    print(f"\nPROCESSING: one {INSTANCE} ({VCPUS} vCPU, {INSTANCE_GB} GB) counts the window and decides")
    print(f"  {count_cpu:.1f} CPU s / {VCPUS} + {decide_s:.1f} CPU s of decision = {seconds:.1f} s")
    print(
        f"  x {INSTANCE_GB} GB = {gb_seconds:.0f} GB-seconds, of which two processes hold {peak_mb / 1024:.2f} GB at the peak"
    )
    print(f"  schedule to report {startup:.1f} min to start (assumed) + {seconds / 60:.1f} min = {minutes:.1f} min")
    return Engine(gb_seconds, minutes)


def alarms(name: str, engine: Engine) -> None:
    """Print the time from a request to the alarm that its drift raises, by schedule."""
    for when, (period, offset) in PERIODS.items():
        # a request waits for the end of its window, the window for the schedule, the alarm for a second drifted window
        last = period + offset + engine.minutes
        again = (WINDOWS_TO_ALARM - 1) * period + 1
        print(
            f"| {name} | {when} | {engine.gb_seconds:,.0f} | {engine.minutes:,.0f} to {last:,.0f} "
            f"| {engine.minutes + again:,.0f} to {last + again:,.0f} |"
        )


def main(arguments: list[str]) -> None:
    """Print the arithmetic and one table."""
    startup = float(arguments[0]) if arguments else STARTUP_MINUTES
    found = json.loads(RESULTS.read_text())
    scale = MILLION / found["rows"]
    alone, together = found["cases"]["many/1/function"], found["cases"]["many/2/job"]
    objects = MILLION / found["object_rows"]
    print(f"measured over {found['rows']:,} records, {found['load']}; a million is {scale:.2f} times that")
    engines = {
        "LAMBDA": functions(alone["count_cpu"] * scale, alone["decide_cpu"] * scale, objects),
        "PROCESSING": job(together["count_cpu"] * scale, together["decide_cpu"] * scale, startup, together["peak_mb"]),
    }
    print("\n| engine | decided | GB-seconds | minutes from request to report | to alarm: two windows of three |")
    print("|---|---|---|---|---|")
    for name, engine in engines.items():
        alarms(name, engine)
    print(
        "\nA request's capture lies in S3 a few minutes after it (not measured here); an alarm is evaluated every minute."
    )


if __name__ == "__main__":
    main(sys.argv[1:])
