"""Cost of the whole loop: seconds of each step of the demo, over several runs in processes of their own."""

import json
import statistics
import subprocess
import sys

from benchmarks.measure import load


def main() -> None:
    """Print the medians of each step over the runs named on the command line (default three)."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    results = []
    for number in range(runs):
        done = subprocess.run(
            [sys.executable, "-m", "mlops_cli", "demo", "--json"], capture_output=True, text=True, check=False
        )
        results.append(json.loads(done.stdout))
        print(f"run {number + 1}: ok {results[-1]['ok']}, {results[-1]['seconds']} s, {load()}", file=sys.stderr)
    print("| step | median s |\n|---|---|")
    for index, step in enumerate(results[0]["steps"]):
        values = [r["steps"][index]["seconds"] for r in results if index < len(r["steps"])]
        print(f"| {step['name']} | {statistics.median(values):.1f} |")
    print(f"| **all** | {statistics.median(r['seconds'] for r in results):.1f} |")
    print(
        f"| **platform, without training and bakes** | {statistics.median(r['platform_seconds'] for r in results):.1f} |"
    )
    print(f"\n{sum(r['ok'] for r in results)} of {runs} runs ok; {load()}")


if __name__ == "__main__":
    main()
