"""Mutation fuzzing of every reader.

``python -m tests.fuzz --mutants 200000 --seed 1 --workers 2`` spreads the mutants over the readers
and prints a table; the files of a finding are kept below ``--keep``, and
``--readers NAME --seed S --only NUMBER`` makes one mutant again.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path


def main() -> int:
    """Share the work among processes and print what came of it; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--mutants", type=int, default=20_000, help="over all readers together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--readers", help="some of them, separated by commas; all if not given")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir(), "entangle-fuzz"))
    parser.add_argument("--only", type=int, help="one mutant of one reader, again")
    parser.add_argument("--share", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    # forks want one thread
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    if given.share is not None or given.only is not None:
        return _work(given)
    words = [sys.executable, "-m", "tests.fuzz", *sys.argv[1:]]
    running = [
        subprocess.Popen([*words, "--share", str(share)], stdout=subprocess.PIPE, text=True)
        for share in range(given.workers)
    ]
    lines = [line for one in running for line in one.communicate()[0].splitlines()]
    failed = any(one.returncode for one in running)
    return 1 if _print([json.loads(line) for line in lines]) or failed else 0


def _work(given: argparse.Namespace) -> int:
    """One worker's share, or one mutant; a JSON line per reader."""
    from tests.fuzz.fuzz_pool import run
    from tests.fuzz.fuzz_readers import READERS

    names = given.readers.split(",") if given.readers else list(READERS)
    unknown = set(names) - set(READERS)
    if unknown:
        sys.exit(f"no reader {', '.join(unknown)}; there are {', '.join(READERS)}")
    shares = sum(READERS[name].share for name in names)
    for name in names:
        many = math.ceil(given.mutants * READERS[name].share / shares)
        numbers = range(given.share or 0, many, given.workers)
        tally = run(READERS[name], given.seed, [given.only] if given.only else numbers, given.keep)
        print(json.dumps(asdict(tally)), flush=True)
        done = f"{name}: {tally.mutants} mutants, {len(tally.findings)} findings"
        print(f"{done}, {tally.seconds:.0f} s", file=sys.stderr, flush=True)
    return 0


def _print(tallies: list[dict]) -> int:
    """The table; returns the number of findings."""
    head = ("reader", "mutants", "accepted", "refused", "findings", "per second")
    rows, findings = [], []
    for name in dict.fromkeys(one["reader"] for one in tallies):
        parts = [one for one in tallies if one["reader"] == name]
        accepted, refused = (sum(p[key] for p in parts) for key in ("accepted", "refused"))
        found = [{"reader": name, **f} for p in parts for f in p["findings"]]
        rate = sum(_mutants(p) / p["seconds"] for p in parts if p["seconds"])
        rows.append((name, accepted + refused + len(found), accepted, refused, len(found), rate))
        findings += found
    totals = [sum(row[column] for row in rows) for column in range(1, 5)]
    rows.append(("all", *totals, totals[0] / max(1e-9, sum(r[1] / r[5] for r in rows if r[5]))))
    print(f"{head[0]:<20}" + "".join(f"{title:>11}" for title in head[1:]))
    for name, *numbers, rate in rows:
        print(f"{name:<20}" + "".join(f"{n:>11,}" for n in numbers) + f"{rate:>11.0f}")
    for one in findings[:200]:
        print(f"\n{one['reader']}, --seed {one['seed']} --only {one['number']}: {one['what']}")
    return len(findings)


def _mutants(tally: dict) -> int:
    return tally["accepted"] + tally["refused"] + len(tally["findings"])


if __name__ == "__main__":
    sys.exit(main())
