"""The kernel keeps the best scores and knows a bound of everything it let go."""

import pytest
import torch

from entangle_cli.neighbors.sieve import RUNS, Sieve, sample_threshold


def offer_all(scores, threshold, k):
    """A sieve that was offered ``scores`` in tiles, for two parts of the queries."""
    rows, count = scores.shape
    sieve = Sieve(threshold, k, count)
    for first in range(0, count, 8 * RUNS):
        for part in (slice(0, rows // 2), slice(rows // 2, rows)):
            tile = scores[part, first : first + 8 * RUNS].contiguous()
            sieve.offer(part, tile, first)
    return sieve


@pytest.mark.parametrize("levels", [5, 10**6], ids=["ties", "distinct"])
@pytest.mark.parametrize("start", [-torch.inf, 0.5, 2.0])
@pytest.mark.parametrize("direction", [1, -1], ids=["improving", "worsening"])
def test_what_is_not_kept_is_at_most_the_threshold(levels, start, direction):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, levels, (6, 64 * RUNS), generator=generator) / levels
    scores = (scores + direction * torch.arange(64 * RUNS) / (64 * RUNS)).float()
    sieve = offer_all(scores, torch.full((6,), start), k=3)
    values, columns = sieve.best()
    kept = values > -torch.inf
    assert torch.equal(values[kept], scores.gather(1, columns)[kept])
    rest = scores.clone()
    for row in range(6):
        assert len(columns[row][kept[row]].unique()) == int(kept[row].sum())
        rest[row, columns[row][kept[row]]] = -torch.inf
    assert (rest.amax(1) <= sieve.threshold).all()
    assert (values[:, :-1] >= values[:, 1:]).all()


def test_the_best_scores_are_kept_when_the_threshold_lets_all_through():
    scores = torch.randn((4, 40 * RUNS), generator=torch.Generator().manual_seed(1))
    values, _ = offer_all(scores, torch.full((4,), -torch.inf), k=5).best()
    assert torch.equal(values, scores.topk(values.shape[1], dim=1).values)


def test_a_sample_gives_a_threshold_that_a_few_more_than_k_pass():
    scores = torch.randn((50, 40_000), generator=torch.Generator().manual_seed(2))
    sample = scores[:, torch.randperm(40_000, generator=torch.Generator().manual_seed(3))[:2048]]
    passed = (scores > sample_threshold(sample, 75, 40_000)[:, None]).sum(1)
    assert int(passed.min()) >= 75
    assert int(passed.max()) < 1500


def test_a_small_sample_lets_everything_through():
    assert (sample_threshold(torch.randn(3, 20), 15, 20) == -torch.inf).all()
