"""``python -m benchmarks.fleet [runs]``: ``mlops fleet`` over 3 accounts with 20 models each, and ``mlops status`` of one.

Each account has 5 units with 4 models; each model has a pipeline and a monitor with a report. Wall seconds, and CPU seconds
of the commands and of the embedded cloud.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.console import furnish, measure
from benchmarks.measure import load

from mlops_local import cloud

ACCOUNTS = ("000000000000", "111111111111", "222222222222")
UNITS, MODELS = 5, 4


def role(running: cloud.Cloud, account: str) -> str:
    """Create the role that reads an account, which the first account may assume."""
    iam, version = running.at(account).client("iam"), "2012-10-17"
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNTS[0]}:root"}, "Action": "sts:AssumeRole"}
    made = iam.create_role(
        RoleName="fleet-reader", AssumeRolePolicyDocument=json.dumps({"Version": version, "Statement": [trust]})
    )
    reads = [
        f"{of}:{verb}*"
        for of in ("ssm", "dynamodb", "sagemaker", "states", "s3")
        for verb in ("Get", "List", "Describe")
    ]
    allowed = {"Effect": "Allow", "Action": reads, "Resource": "*"}
    iam.put_role_policy(
        RoleName="fleet-reader",
        PolicyName="May",
        PolicyDocument=json.dumps({"Version": version, "Statement": [allowed]}),
    )
    return str(made["Role"]["Arn"])


def main(runs: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        home, named = Path(folder) / "cloud", Path(folder) / "fleet.json"
        running = cloud.up(home, account_count=len(ACCOUNTS))
        try:
            found = []
            for account in ACCOUNTS:
                furnish(running.at(account), units=UNITS, models=MODELS, buckets=f"a{account[0]}-")
                environment = {"account": account, "region": "us-east-1", "role": role(running, account)}
                found.append({"name": f"account-{account[0]}", **environment})
            named.write_text(json.dumps({"format": "mlops.fleet/1", "environments": found}))
            command = [sys.executable, "-m", "mlops_cli"]
            fleet = [*command, "fleet", "--environments", str(named), "--json", "--home", str(home)]
            result = json.loads(subprocess.run(fleet, check=True, stdout=subprocess.PIPE).stdout)
            assert (len(result["models"]), result["unread"]) == (len(ACCOUNTS) * UNITS * MODELS, {}), result["unread"]
            sys.stdout.write(
                f"{len(ACCOUNTS)} accounts, {UNITS * MODELS} models each; medians of {runs}; {load()}\n\n"
                "| what | wall s | CPU s | CPU s of the embedded cloud |\n|---|---|---|---|\n"
            )
            for name, requested in (
                ("mlops fleet --json", fleet),
                ("mlops status --json of one account", [*command, "status", "--json", "--home", str(home)]),
            ):
                took = measure(
                    lambda command=requested: subprocess.run(command, check=True, stdout=subprocess.DEVNULL),
                    (os.getpid(), running.pid),
                    runs,
                )
                sys.stdout.write(f"| {name} | {' | '.join(f'{each:.2f}' for each in took)} |\n")
        finally:
            running.down(forget=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
