"""The command line of the benchmarks."""

import argparse
import importlib
import os
from pathlib import Path

JOBS = (
    "ceilings",
    "snnl",
    "minimum",
    "neighbors",
    "extraction",
    "store",
    "whole",
    "scaling",
    "memory",
    "sandbox",
)


def main() -> None:
    """Set the threads before anything is imported, then run the jobs."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("jobs", nargs="*", help=f"some of {', '.join(JOBS)}; all if none is given")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shared", type=Path, help="folder of real data and models")
    parser.add_argument("--json", type=Path, help="write every figure here")
    given = parser.parse_args()
    unknown = set(given.jobs) - set(JOBS)
    if unknown:
        parser.error(f"unknown jobs: {', '.join(sorted(unknown))}")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = str(given.threads)
    from tests.benchmarks.harness import Bench, machine

    bench = Bench(given.threads, given.rounds, given.shared)
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    try:
        for job in given.jobs or JOBS:
            importlib.import_module(f"tests.benchmarks.{job}").run(bench)
    finally:
        if given.json:
            bench.write(given.json)


if __name__ == "__main__":
    main()
