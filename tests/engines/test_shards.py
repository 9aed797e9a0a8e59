"""Shards of a run: which is whose, and that together they are the run without shards."""

import json
import shutil

import pytest

from entangle_cli.commands.measure import measure
from entangle_cli.errors import StoreError, UsageError
from entangle_cli.runs.merge.shard import Shard, parse_shard
from entangle_cli.runs.merge.share import parameters_of, restored
from tests.engines.workload import contents, write_images, write_network

MODEL = "checkpoints/digits-step1000.onnx"
SERIES = "checkpoints/digits-step0[01]*0.onnx"
DUMP = ("dump", MODEL, "train", "-b", 64, "-q")
LAYERS = ("--layers", "input", "--layers", "conv2>maxpool", "--layers", "fc*")
MEASURE = ("measure", SERIES, "test", "-b", 64, *LAYERS, "-q")


def in_shards(entangle, words, count: int, folder: str = "s") -> list[str]:
    names = [f"{folder}{number}" for number in range(1, count + 1)]
    for number, name in enumerate(names, 1):
        found = entangle(*words, "-o", name, "--shard", f"{number}/{count}")
        assert found.code == 0, found.stderr
    return names


@pytest.mark.parametrize("count", [1, 3, 7])
def test_shards_of_a_dump_make_up_the_file(entangle, project, count):
    entangle(*DUMP, "-o", "one")
    names = in_shards(entangle, DUMP, count)
    found = entangle("merge", *names, "-o", "all", "--json")
    assert found.code == 0, found.stderr
    merged = contents(project / "all")
    assert merged == contents(project / "one")
    assert all(row["rows"] == 1074 for row in found.json["rows"])
    sizes = [len(list((project / name).rglob("*.h5"))) for name in names]
    assert sum(sizes) == min(count, 5), "1074 samples are 5 lines of 256"


def test_a_merge_can_name_its_file_and_is_repeated_for_nothing(entangle, project):
    names = in_shards(entangle, DUMP, 2)
    assert entangle("merge", *names, "-o", "x.h5").code == 0
    before = contents(project)
    assert entangle("merge", *names, "-o", "x.h5").code == 0
    assert contents(project) == before
    assert entangle("verify", "x.h5").code == 0


def test_shards_may_share_their_output_folder(entangle, project):
    entangle(*DUMP, "-o", "one")
    for number in (2, 1):
        entangle(*DUMP, "-o", "out", "--shard", f"{number}/2")
    assert entangle("merge", "out", "-o", "all").code == 0
    assert contents(project / "all") == contents(project / "one")


@pytest.mark.parametrize("words", [DUMP, MEASURE], ids=["dump", "measure"])
def test_a_missing_a_doubled_and_a_foreign_shard_are_named(entangle, project, words):
    names = in_shards(entangle, words, 3)
    missing = entangle("merge", names[0], names[2], "-o", "all")
    assert (missing.code, "1 of 3 shards missing: 2/3" in missing.error) == (2, True)
    shutil.copytree(names[1], "copy")
    doubled = entangle("merge", *names, "copy", "-o", "all")
    assert doubled.code == 2
    assert "shard 2/3 is there twice" in doubled.error
    assert "copy" in doubled.error
    changed = [word if word != 64 else 32 for word in words]
    entangle(*changed, "-o", "foreign", "--shard", "2/3")
    foreign = entangle("merge", names[0], "foreign", names[2], "-o", "all")
    assert foreign.code == 2
    assert "foreign/shards/2-of-3" in foreign.error
    assert "of another run" in foreign.error
    entangle(*words, "-o", "halves", "--shard", "2/2")
    other = entangle("merge", *names, "halves", "-o", "all")
    assert other.code == 2
    assert "shard 2/2" in other.error
    assert not (project / "all").exists()


def test_a_shard_that_was_cut_short_is_no_shard(entangle, project):
    names = in_shards(entangle, DUMP, 2)
    (project / "s2/shards/2-of-2/shard.json").unlink()
    found = entangle("merge", *names, "-o", "all")
    assert found.code == 2
    assert "holds no finished shard" in found.error
    entangle(*DUMP, "-o", "s2", "--shard", "2/2")
    assert entangle("merge", *names, "-o", "all").code == 0


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"format": "entangle-shard"}',
        '{"format": "entangle-shard", "version": "0.1.0", "command": "dump", "number": "1", '
        '"of": 2, "run": {}, "files": []}',
        '{"format": "entangle-shard", "version": "9.9.9", "command": "dump", "number": 1, '
        '"of": 1, "run": {}, "files": []}',
    ],
)
def test_a_damaged_record_is_refused(entangle, tmp_path, content):
    folder = tmp_path / "shards" / "1-of-1"
    folder.mkdir(parents=True)
    (folder / "shard.json").write_text(content)
    found = entangle("merge", tmp_path, "-o", tmp_path / "all")
    assert found.code == 2
    assert "shard.json" in found.error


def test_shards_of_a_measurement_make_up_its_files(entangle, project):
    whole = entangle(*MEASURE, "--class-pairs", "-o", "one", "--json")
    names = in_shards(entangle, (*MEASURE, "--class-pairs"), 4)
    sizes = [len(list((project / name).rglob("measured/*.json"))) for name in names]
    assert len(set(sizes)) > 1, "the shards are of different sizes"
    found = entangle("merge", *names, "-o", "all", "--json")
    assert found.code == 0, found.stderr
    assert found.stdout == whole.stdout
    assert contents(project / "all") == contents(project / "one")


def test_merging_measures_nothing_again(entangle, project, monkeypatch):
    names = in_shards(entangle, MEASURE, 2)

    def refuse(*given, **options):
        raise AssertionError("measured again")

    monkeypatch.setattr("entangle_cli.runs.measure.measuring.measure", refuse)
    assert entangle("merge", *names, "-o", "all").code == 0


def test_shards_of_an_activation_file_share_its_layers(entangle, project):
    entangle("dump", MODEL, "test", "--file", "acts.h5", "-q")
    entangle("measure", "acts.h5", "-o", "one", "-q")
    names = in_shards(entangle, ("measure", "acts.h5", "-q"), 3)
    assert entangle("merge", *names, "-o", "all", "-q").code == 0
    assert contents(project / "all") == contents(project / "one")


def test_shards_use_the_activations_of_the_whole_run(entangle, project, monkeypatch):
    entangle("dump", MODEL, "test", "-o", "out", "-q")

    def refuse(*given, **options):
        raise AssertionError("dumped again")

    monkeypatch.setattr("entangle_cli.activations.dump.Filling.whole", refuse)
    for number in (1, 2):
        words = ("measure", MODEL, "test", "-o", "out", "--shard", f"{number}/2", "-q")
        assert entangle(*words).code == 0


def test_a_record_cannot_reach_out_of_its_folder(entangle, project):
    names = in_shards(entangle, MEASURE, 1)
    path = project / "s1/shards/1-of-1/shard.json"
    record = json.loads(path.read_text())
    for name in ("../../secret", "/etc/passwd", "measured/../../x", "elsewhere/x.json"):
        path.write_text(json.dumps(record | {"files": [name]}))
        found = entangle("merge", *names, "-o", "all")
        assert found.code == 2
        assert "which no shard makes" in found.error


@pytest.mark.parametrize("more", [{"trust": True}, {"output": "/"}, {"nonsense": 1}])
def test_a_record_cannot_give_options_of_the_call(entangle, project, more):
    names = in_shards(entangle, MEASURE, 1)
    path = project / "s1/shards/1-of-1/shard.json"
    record = json.loads(path.read_text())
    record["run"]["parameters"] |= more
    path.write_text(json.dumps(record))
    assert "is no argument of the command" in entangle("merge", *names, "-o", "all").error


def test_parameters_survive_being_made_plain():
    given = {"sources": ["a", "b"], "metric": "cosine", "limit": 5, "watch": None}
    back = restored(measure, parameters_of(given | {"output": "x", "shard": "1/2"}))
    assert back == given
    with pytest.raises(StoreError, match="no value of an option"):
        restored(measure, {"metric": "manhattan"})


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "1/3/5", "-1/3", ""])
def test_a_shard_is_one_of_some(text):
    with pytest.raises(UsageError, match="--shard"):
        parse_shard(text)


def test_a_task_of_a_job_array_is_a_shard():
    array = {"SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "3"}
    environment = array | {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "4"}
    assert parse_shard("slurm", environment) == Shard(1, 4)
    assert parse_shard("slurm", environment | {"SLURM_ARRAY_TASK_ID": "3"}) == Shard(4, 4)
    from_five = {"SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_ID": "6"}
    assert parse_shard("slurm", environment | from_five | {
        "SLURM_ARRAY_TASK_MAX": "8"}) == Shard(2, 4)  # fmt: skip
    with pytest.raises(UsageError, match="no task of a Slurm job array"):
        parse_shard("slurm", {})
    with pytest.raises(UsageError, match="with gaps"):
        parse_shard("slurm", environment | {"SLURM_ARRAY_TASK_COUNT": "2"})


@pytest.mark.parametrize("of", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("layers", [[3], [4, 1, 5], [2] * 12])
def test_every_layer_belongs_to_one_shard(of, layers):
    shards = [Shard(number, of) for number in range(1, of + 1)]
    places, sizes = len(layers), [0] * of
    for place, items in enumerate(layers):
        for item in range(items):
            owners = [s for s in shards if s.owns(place, places, item, items)]
            assert len(owners) == 1
            assert owners[0].touches(place, places)
            sizes[owners[0].number - 1] += 1
    if len(set(layers)) == 1:
        assert max(sizes) - min(sizes) <= 1 + (of > sum(layers))


def test_shards_and_engines_are_not_mixed(entangle, project):
    found = entangle(*DUMP, "--shard", "1/2", "--engine", "ray")
    assert found.code == 2
    assert "--shard and --engine ray" in found.error


@pytest.mark.parametrize(
    "words",
    [
        ("dknn", "-q"),
        (
            "ood",
            "--in",
            "test",
            "--out",
            "letters",
            "--train",
            "train",
            "--detectors",
            "knn,dknn_count",
            "-q",
        ),
    ],
    ids=["dknn", "ood"],
)
def test_shards_share_the_search_for_neighbors(entangle, project, words):
    whole = entangle(*words, "-o", "one", "--json")
    assert whole.code == 0, whole.stderr
    names = in_shards(entangle, words, 3)
    lists = [len(list((project / name).rglob("neighbors/*"))) for name in names]
    assert sum(lists) == len(list((project / "one/neighbors").iterdir()))
    found = entangle("merge", *names, "-o", "all", "--json")
    assert found.code == 0, found.stderr
    assert found.stdout == whole.stdout
    assert contents(project / "all") == contents(project / "one")


def test_what_is_said_of_copies_does_not_depend_on_who_read_the_data(entangle, project):
    write_images(project / "twice.npz", 300)
    write_network(project / "net.pt", 8)
    words = ("measure", "net.pt", "twice.npz", "--preprocess", "unit", "--layers", "input",
             "--layers", "10", "-b", 64, "-q")  # fmt: skip
    whole = entangle(*words, "-o", "one", "--json")
    notes = [note for note in whole.json["notes"] if "exact duplicates" in note]
    assert len(notes) == 1
    assert "twice: 1 of 300 samples" in notes[0]
    assert entangle(*words, "-o", "one", "--json").stdout == whole.stdout
    names = in_shards(entangle, words, 2)
    assert entangle("merge", *names, "-o", "all", "--json").stdout == whole.stdout
    assert contents(project / "all") == contents(project / "one")
