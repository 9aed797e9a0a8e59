import numpy as np
import pytest

from entangle_cli.errors import MeasureError
from entangle_cli.measures.dknn import label_counts, neighbor_labels
from entangle_cli.measures.evaluation import evaluate
from entangle_cli.measures.layered_calibration import calibrate
from entangle_cli.measures.ood.dknn_scores import fit_dknn_count, fit_dknn_credibility
from entangle_cli.measures.ood.evidence import Evidence, Known
from entangle_cli.neighbors.interface import Neighbors
from tests.reference import ood_layers as reference

LAYERS = ("a", "b", "c")


def voting(generator, rows, train, *, k=5, classes=4, labels=None, layers=LAYERS):
    """Evidence with random neighbors among ``train`` points, some of them missing."""
    found = {}
    for layer in layers:
        indices = generator.integers(0, train, (rows, k))
        indices[np.arange(k) >= generator.integers(0, 2 * k, rows)[:, None]] = -1
        found[layer] = Neighbors(indices, np.where(indices < 0, np.inf, 0.5))
    logits = generator.normal(size=(rows, classes))
    return Evidence(rows=rows, logits=logits, neighbors={"cosine": found}, labels=labels)


def random_case(seed, *, classes=4, unlabeled=0.1, **options):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, 30)
    labels[:classes] = np.arange(classes)
    labels[classes:][generator.random(30 - classes) < unlabeled] = -1
    own = generator.integers(0, classes, 25)
    own[1:][generator.random(24) < unlabeled] = -1
    calibration = voting(generator, 25, 30, classes=classes, labels=own, **options)
    known = Known(training=Evidence(rows=30, labels=labels), calibration=calibration)
    return known, voting(generator, 17, 30, classes=classes, **options)


def indices(inputs, layer):
    return inputs.neighbors["cosine"][layer].indices


@pytest.mark.parametrize("layers", [("b",), LAYERS])
@pytest.mark.parametrize("seed", range(10))
def test_count_equals_loops(seed, layers):
    known, inputs = random_case(seed)
    found = fit_dknn_count(known, layers).score(inputs)
    predicted = inputs.logits.argmax(axis=1)
    expected = [
        reference.neighbor_count(
            [indices(inputs, layer)[row] for layer in layers],
            known.training.labels,
            predicted[row],
        )
        for row in range(inputs.rows)
    ]
    assert found.dtype == np.float64
    assert found.tolist() == expected


def by_evaluation(known, inputs, layers):
    """1 - credibility from the functions that ``entangle dknn`` uses."""

    def counted(evidence):
        train = known.training.labels
        return {
            layer: label_counts(neighbor_labels(indices(evidence, layer), train), 4)
            for layer in layers
        }

    fitted = calibrate(counted(known.calibration), known.calibration.labels, k=5)
    return 1 - evaluate(counted(inputs), fitted).joint.credibility


@pytest.mark.parametrize("layers", [("b",), LAYERS])
@pytest.mark.parametrize("seed", range(10))
def test_credibility_equals_the_evaluation(seed, layers):
    known, inputs = random_case(seed)
    found = fit_dknn_credibility(known, layers).score(inputs)
    np.testing.assert_array_equal(found, by_evaluation(known, inputs, layers))
    assert len(set(found)) > 2


def test_joint_count_is_the_sum_over_layers():
    known, inputs = random_case(0)
    parts = [fit_dknn_count(known, (layer,)).score(inputs) for layer in LAYERS]
    np.testing.assert_array_equal(fit_dknn_count(known, LAYERS).score(inputs), sum(parts))


@pytest.mark.parametrize("fit", [fit_dknn_count, fit_dknn_credibility])
def test_block_by_block_equals_all_at_once(fit, monkeypatch):
    known, inputs = random_case(1)
    whole = fit(known, LAYERS).score(inputs)
    monkeypatch.setattr("entangle_cli.measures.ood.evidence.BLOCK_BYTES", 8 * 5 * 3)
    np.testing.assert_array_equal(fit(known, LAYERS).score(inputs), whole)


def one_input(neighbors, logits, labels=(0, 0, 1, 1)):
    found = Neighbors(np.array([neighbors]), np.zeros((1, len(neighbors))))
    inputs = Evidence(rows=1, logits=np.array([logits]), neighbors={"cosine": {"a": found}})
    known = Known(training=Evidence(rows=len(labels), labels=np.array(labels)))
    return fit_dknn_count(known, ("a",)).score(inputs)[0]


def test_counts_by_hand():
    assert one_input([0, 1, 2], [2.0, 1.0]) == -2
    assert one_input([0, 1, 2], [1.0, 2.0]) == -1
    assert one_input([0, 1, 2], [2.0, 2.0]) == -2  # the lowest class among equals
    assert one_input([0, -1, -1], [2.0, 1.0]) == -1  # missing neighbors count against
    assert one_input([0, 1, 2], [2.0, 1.0], labels=[0, -1, 1]) == -1  # so do unlabeled ones
    alone = one_input([2, 3, 3], [2.0, 1.0])
    assert (alone, np.signbit(alone)) == (0, False)
    assert one_input([0, 1, 2], [0.0, 1.0, 2.0]) == 0  # a class that no training point has


def test_unanimous_neighbors_are_credible_and_missing_ones_are_not():
    train = Evidence(rows=4, labels=np.array([0, 0, 1, 1]))
    votes = np.array([[0, 1], [1, 0], [2, 3], [0, 2]])
    calibration = Evidence(
        rows=4,
        labels=np.array([0, 0, 1, 1]),
        neighbors={"cosine": {"a": Neighbors(votes, np.zeros((4, 2)))}},
    )
    fitted = fit_dknn_credibility(Known(training=train, calibration=calibration), ("a",))
    assert fitted.calibration_scores.tolist() == [0, 0, 0, 1]
    tested = Neighbors(np.array([[0, 1], [0, 3], [3, -1], [-1, -1]]), np.zeros((4, 2)))
    inputs = Evidence(rows=4, neighbors={"cosine": {"a": tested}})
    assert fitted.score(inputs).tolist() == [0, 0.75, 0.75, 1]


@pytest.mark.parametrize("fit", [fit_dknn_count, fit_dknn_credibility])
def test_missing_training_labels_are_named(fit):
    known, _ = random_case(2)
    nobody = np.full(30, -1)
    for training in (None, Evidence(rows=30), Evidence(rows=30, labels=nobody)):
        with pytest.raises(MeasureError, match="needs training data with labels: give --train"):
            fit(Known(training=training, calibration=known.calibration), LAYERS)
    with pytest.raises(MeasureError, match="no layer"):
        fit(known, ())
    with pytest.raises(MeasureError, match="needs the cosine neighbors of layer d"):
        fit(known, ("a", "d")).score(random_case(2)[1])


def test_what_the_calibration_lacks_is_named():
    known, inputs = random_case(3)
    training, calibration = known.training, known.calibration
    with pytest.raises(MeasureError, match="needs calibration data: give --calib"):
        fit_dknn_credibility(Known(training=training), LAYERS)
    bare = Evidence(rows=25, neighbors=calibration.neighbors)
    with pytest.raises(MeasureError, match="needs calibration data with labels: give --calib"):
        fit_dknn_credibility(Known(training=training, calibration=bare), LAYERS)
    strange = Evidence(rows=25, neighbors=calibration.neighbors, labels=np.full(25, 9))
    with pytest.raises(MeasureError, match="calibration label 9"):
        fit_dknn_credibility(Known(training=training, calibration=strange), LAYERS)
    other = random_case(3, k=4)[1]
    with pytest.raises(MeasureError, match="4 neighbors, elsewhere 5"):
        fit_dknn_credibility(known, LAYERS).score(other)
    shorter = other.neighbors["cosine"]["b"]
    longer = inputs.neighbors["cosine"]["a"]
    uneven = {"cosine": {"a": longer, "b": shorter}}
    uneven = Evidence(rows=17, neighbors=uneven, labels=np.zeros(17, dtype=int))
    with pytest.raises(MeasureError, match="layer b: 4 neighbors, elsewhere 5"):
        fit_dknn_credibility(Known(training=training, calibration=uneven), ("a", "b"))
    few = Known(training=Evidence(rows=5, labels=np.arange(5) % 4), calibration=calibration)
    with pytest.raises(MeasureError, match="5 training labels"):
        fit_dknn_credibility(few, LAYERS)
    with pytest.raises(MeasureError, match="no class scores"):
        fit_dknn_count(known, LAYERS).score(Evidence(rows=17, neighbors=inputs.neighbors))
