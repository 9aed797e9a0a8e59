"""``--log-to``: what reaches the experiment trackers, through their public calls."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from entangle_cli.results import Result
from entangle_cli.runs.measure import trackers
from entangle_cli.runs.measure.readings import readings

MODEL = "checkpoints/digits-step1000.onnx"
FC2 = ("measure", "test", "--layers", "fc2", "-q")


class ServiceError(Exception):
    pass


@pytest.fixture
def calls():
    return []


@pytest.fixture
def installed(monkeypatch):
    """Puts modules in place of packages that may be missing."""

    def put(**modules):
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name.replace("__", "."), module)
        monkeypatch.setattr(trackers, "find_spec", lambda name: name)

    return put


@pytest.fixture
def wandb(calls, installed, monkeypatch, tmp_path):
    """A stand-in for wandb that writes its calls down; nobody is logged in."""

    class Run:
        def define_metric(self, *args, **options):
            calls.append(("define_metric", args, options))

        def log(self, values):
            calls.append(("log", values))

        def finish(self, exit_code):
            calls.append(("finish", exit_code))

    module = ModuleType("wandb")
    module.Error = ServiceError
    module.init = lambda **options: calls.append(("init", options)) or Run()
    for variable in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    installed(wandb=module)
    return module


@pytest.fixture
def mlflow(calls, installed):
    """A stand-in for mlflow that writes its calls down."""

    def call(name):
        return lambda *args, **options: calls.append((name, *args, options))

    names = ("set_experiment", "start_run", "log_params", "log_metrics", "log_artifact", "end_run")
    module = ModuleType("mlflow")
    for name in names:
        setattr(module, name, call(name))
    installed(mlflow=module, mlflow__exceptions=SimpleNamespace(MlflowException=ServiceError))
    return module


def test_tensorboard_reads_back_what_was_measured(entangle, project):
    reading = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="the extra 'tensorboard' is not installed",
    )
    found = entangle("measure", "--json", "--log-to", "tensorboard", "-q")
    assert found.code == 0, found.stderr
    events = reading.EventAccumulator(str(project / "entangle-out" / "tensorboard"))
    events.Reload()
    rows = [row for row in found.json["rows"] if row["layer"] == "conv2>maxpool"]
    for measure in ("entanglement", "snnl", "temperature"):
        logged = events.Scalars(f"{measure}/conv2>maxpool")
        assert [one.step for one in logged] == [0, 30, 100, 300, 1000]
        assert [one.value for one in logged] == pytest.approx([row[measure] for row in rows])
    accuracy = [model["accuracy"] for model in found.json["models"]]
    assert [one.value for one in events.Scalars("accuracy")] == pytest.approx(accuracy)


def test_tensorboard_writes_where_it_is_told(entangle, project):
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    assert entangle("measure", MODEL, "test", "-q", "--log-to", "tensorboard:runs/a").code == 0
    (event_file,) = (project / "runs" / "a").iterdir()
    assert event_file.name.startswith("events.out.tfevents")


def test_wandb_is_offline_without_a_key_and_takes_steps_in_any_order(
    entangle, project, wandb, calls
):
    found = entangle("measure", "--json", "-q", "--layers", "fc2", "--log-to", "wandb")
    assert found.code == 0
    kinds = [call[0] for call in calls]
    assert kinds == ["init", "define_metric", "define_metric", *["log"] * 5, "finish"]
    options = calls[0][1]
    assert (options["mode"], options["project"]) == ("offline", "entangle")
    assert options["config"]["protocol"]["metric"] == "euclidean"
    assert calls[2][2] == {"step_metric": "step"}
    assert [call[1]["step"] for call in calls if call[0] == "log"] == [0, 30, 100, 300, 1000]
    assert calls[-2][1]["entanglement/fc2"] == found.json["rows"][-1]["entanglement"]
    assert calls[-1] == ("finish", 0)


@pytest.mark.parametrize("how", ["variable", "file", "mode"])
def test_wandb_is_left_to_itself_where_there_is_a_key(
    entangle, project, wandb, calls, how, monkeypatch, tmp_path
):
    if how == "variable":
        monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    elif how == "file":
        (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    else:
        monkeypatch.setenv("WANDB_MODE", "disabled")
    assert entangle("measure", MODEL, "test", "-q", "--log-to", "wandb:mine").code == 0
    assert (calls[0][1]["mode"], calls[0][1]["project"]) == (None, "mine")


def test_mlflow_gets_names_it_allows_and_the_files(entangle, project, mlflow, calls):
    layers = ["--layers", "conv1>maxpool", "--layers", "fc2"]
    found = entangle("measure", MODEL, "test", "-q", *layers, "--log-to", "mlflow:digits")
    assert found.code == 0
    by_kind = {call[0]: call for call in calls}
    assert by_kind["set_experiment"][1] == "digits"
    values, options = by_kind["log_metrics"][1:]
    assert options == {"step": 1000}
    assert {"snnl/conv1_maxpool", "snnl/fc2", "accuracy"} < set(values)
    files = [Path(call[1]).name for call in calls if call[0] == "log_artifact"]
    assert {"measure.json", "measure.csv"} <= set(files)
    assert calls[-1][:2] == ("end_run", "FINISHED")


def test_two_names_that_mlflow_cannot_tell_apart_stay_apart(mlflow, calls):
    tracker = trackers.MLflow(None, {})
    tracker.log(0, {"snnl/a>b": 1.0, "snnl/a<b": 2.0, "snnl/a_b": 3.0})
    tracker.log(1, {"snnl/a<b": 4.0})
    logged = [call[1] for call in calls if call[0] == "log_metrics"]
    assert logged == [
        {"snnl/a_b": 1.0, "snnl/a_b_": 2.0, "snnl/a_b__": 3.0},
        {"snnl/a_b_": 4.0},
    ]


@pytest.mark.parametrize("call", ["start_run", "log_metrics", "log_artifact", "end_run"])
def test_a_service_out_of_order_costs_a_warning_and_no_number(
    entangle, project, mlflow, calls, monkeypatch, call
):
    def refuse(*args, **options):
        raise ServiceError("no answer\nfrom the server")

    monkeypatch.setattr(mlflow, call, refuse)
    found = entangle("measure", MODEL, "test", "--json", "--log-to", "mlflow")
    assert found.code == 0
    warnings = [line for line in found.stderr.splitlines() if line.startswith("warning")]
    assert warnings == [
        "warning: --log-to mlflow: no answer from the server; nothing more is sent there"
    ]
    assert found.json["rows"]


def test_a_watch_logs_each_checkpoint_as_it_comes(entangle, project, wandb, calls):
    words = ["--watch", "checkpoints/*.onnx", "--watch-until", "3", "--log-to", "wandb"]
    assert entangle(*FC2, *words).code == 0
    assert [call[1]["step"] for call in calls if call[0] == "log"] == [0, 30, 100]
    assert calls[-1] == ("finish", 0)


@pytest.mark.parametrize("kind", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_package_is_said_before_anything_is_done(entangle, project, monkeypatch, kind):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    for words in ([], ["--watch", "checkpoints"]):
        found = entangle(*FC2, *words, "--log-to", kind)
        assert found.code == 2
        assert f"pip install 'entangle-cli[{kind}]'" in found.error
        assert not (project / "entangle-out").exists()


def test_an_unknown_tracker_is_answered_with_the_known_ones(entangle, project):
    found = entangle(*FC2, "--log-to", "tensorbord:x")
    assert found.code == 2
    assert "did you mean 'tensorboard'?" in found.error


def result_of(*names, steps=None):
    rows = [
        {"model": n, "step": s, "layer": "a", "snnl": 1.0, "entanglement": 0.5, "temperature": None}
        for n, s in zip(names, steps or [None] * len(names), strict=True)
    ]
    models = [
        {"model": n, "step": r["step"], "accuracy": 0.9} for n, r in zip(names, rows, strict=True)
    ]
    return Result("measure", rows=rows, models=models)


def test_readings_go_by_step_and_leave_out_what_has_no_number():
    result = result_of("s1.pt", "s5.pt", steps=[1, 5])
    paths = {name: Path(name) for name in ("s1.pt", "s5.pt")}
    values = {"accuracy": 0.9, "entanglement/a": 0.5, "snnl/a": 1.0}
    assert readings(result, paths) == {1: values, 5: values}
    assert readings(result, paths, only="s5.pt") == {5: values}


def test_several_series_are_told_apart_and_models_without_steps_are_counted():
    result = result_of("wide.pt", "deep.pt")
    found = readings(result, {name: Path(name) for name in ("wide.pt", "deep.pt")})
    assert set(found) == {0, 1}
    assert set(found[0]) == {"accuracy/wide.pt", "entanglement/wide.pt/a", "snnl/wide.pt/a"}


def test_data_without_a_model_is_one_reading(entangle, project, wandb, calls):
    assert entangle("measure", "test", "-q", "--log-to", "wandb").code == 0
    (values,) = [call[1] for call in calls if call[0] == "log"]
    assert values["step"] == 0
    assert "snnl/input" in values
