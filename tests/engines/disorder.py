"""An engine in this process that does units in an order of its own."""

import random

from entangle_cli.engines.interface import GivenUp, Outcome
from entangle_cli.engines.local import LocalEngine


class Disordered:
    """Does units in random order; those whose name holds ``deadly`` end every worker."""

    deadly = "nothing"
    seed = 0

    def __init__(self, options, note) -> None:
        self.done: list[str] = []

    def run(self, work, units, progress):
        order = list(range(len(units)))
        random.Random(self.seed).shuffle(order)
        outcomes = {}
        for index in order:
            unit = units[index]
            if self.deadly in unit.name:
                error = GivenUp(f"{unit.name}: 4 workers died over it; given up")
                outcomes[index] = Outcome(unit, error=error)
                continue
            (outcomes[index],) = LocalEngine().run(work, [unit], progress)
        yield from (outcomes[index] for index in range(len(units)))

    def describe(self):
        return {"engine": "ray", "workers": 2, "cpus": 1, "nodes": 1}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass
