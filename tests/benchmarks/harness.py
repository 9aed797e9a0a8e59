"""Comparisons of callables that take turns, printed as ratios and kept for JSON."""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any


@dataclass
class Bench:
    """One run of the benchmarks: its settings, and what was found.

    Attributes:
        threads: threads of every library, set before they are imported.
        rounds: turns of every rival; the first one more, untimed, warms up.
        shared: folder of real data and models, None where there is none.
    """

    threads: int = 1
    rounds: int = 5
    shared: Path | None = None
    found: list[dict[str, Any]] = field(default_factory=list)

    def seconds(self, run: Callable[[], object]) -> float:
        """Time of one call: of the processor with one thread, else of the wall."""
        clock = time.process_time if self.threads == 1 else time.perf_counter
        start = clock()
        run()
        return clock() - start

    def compare(
        self,
        title: str,
        rivals: Mapping[str, Callable[[], object]],
        *,
        limits: Mapping[str, float] | None = None,
        rounds: int | None = None,
        notes: str = "",
    ) -> dict[str, float]:
        """Median seconds of each rival; ratios are to the first, which is ours.

        ``limits`` are seconds that were calculated from ceilings measured in this run.
        """
        times: dict[str, list[float]] = {name: [] for name in rivals}
        for turn in range((rounds or self.rounds) + 1):
            for name, run in rivals.items():
                taken = self.seconds(run)
                if turn:
                    times[name].append(taken)
        medians = {name: median(values) for name, values in times.items()}
        self._print(title, medians, limits or {}, notes)
        self.found.append(
            {
                "title": title,
                "threads": self.threads,
                "seconds": medians,
                "all": times,
                "limits": dict(limits or {}),
                "notes": notes,
            }
        )
        return medians

    def _print(
        self, title: str, medians: Mapping[str, float], limits: Mapping[str, float], notes: str
    ) -> None:
        ours = next(iter(medians.values()))
        print(f"\n{title}  ({self.threads} thread{'s' * (self.threads > 1)})")
        for name, value in limits.items():
            print(f"  {name:<38} {value:10.4f} s   ours is {ours / value:6.2f} x this limit")
        for name, value in medians.items():
            print(f"  {name:<38} {value:10.4f} s   {value / ours:6.2f} x ours")
        if notes:
            print(f"  {notes}")

    def write(self, path: Path) -> None:
        """Everything found, with the machine, as JSON."""
        body = {"machine": machine(), "comparisons": self.found}
        path.write_text(json.dumps(body, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    import numpy
    import torch

    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "OPENBLAS_CORETYPE": os.environ.get("OPENBLAS_CORETYPE"),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }
