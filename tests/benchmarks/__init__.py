"""How fast it is, beside the machine's limits and beside peers; run on demand.

    python -m tests.benchmarks                 every job
    python -m tests.benchmarks snnl neighbors  some of them
    python -m tests.benchmarks --threads 1 --rounds 7 --json figures.json

One thread is timed by the processor's time, which other work on the machine hardly changes; more
threads by the wall clock. Rivals of one comparison take turns, so that a noisy moment meets all of
them; figures are medians, and only ratios within one comparison mean anything.
"""
