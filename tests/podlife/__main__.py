"""The rollovers by hand: ``python -m tests.podlife --rollovers 10``."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from podlife.kubelet import Order
from podlife.rollover import Timing, roll_over, run_job


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.podlife")
    parser.add_argument("--rollovers", type=int, default=10)
    parser.add_argument("--order", choices=[order.value for order in Order], help="default: all")
    parser.add_argument("--late", type=float, default=Timing().late, metavar="SECONDS")
    parser.add_argument("--delay", type=float, default=Timing().delay, metavar="SECONDS")
    options = parser.parse_args()
    timing = Timing(late=options.late, delay=options.delay)
    orders = list(Order) if options.order is None else [Order(options.order)]
    sound = True
    for order in orders:
        with tempfile.TemporaryDirectory() as directory:
            report = asyncio.run(roll_over(Path(directory), order, options.rollovers, timing))
        print(report, flush=True)
        sound &= report.sound
        with tempfile.TemporaryDirectory() as directory:
            report = asyncio.run(
                roll_over(Path(directory), order, options.rollovers, timing, streams=100)
            )
        print(f"HTTP/2, 50 streams on each pod, {report}", flush=True)
        sound &= report.sound
    with tempfile.TemporaryDirectory() as directory:
        control = asyncio.run(roll_over(Path(directory), Order.NATIVE, 1, timing, pre_stop=False))
    print(f"without the service's preStop hook, {control}")
    sound &= bool(control.failed)  # else the load would not notice
    with tempfile.TemporaryDirectory() as directory:
        job = asyncio.run(run_job(Path(directory), timing))
    print(f"job: {job.calls} calls, {len(job.failed_calls)} failed, ended in {job.seconds:.1f} s")
    return 0 if sound and job.sound else 1


if __name__ == "__main__":
    sys.exit(main())
