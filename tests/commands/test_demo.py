def test_the_demo_leaves_a_project_and_ends_with_a_table(entangle, tmp_path):
    found = entangle("demo", tmp_path / "demo")
    assert found.code == 0
    made = {path.name for path in (tmp_path / "demo").iterdir()}
    assert made == {"checkpoints", "data", "entangle.toml", "entangle-out", "report.html"}
    checkpoints = [path.name for path in (tmp_path / "demo" / "checkpoints").iterdir()]
    assert sum(name.endswith(".onnx") for name in checkpoints) >= 4
    assert sum(name.endswith(".pt") for name in checkpoints) >= 4
    assert "fc1>relu" in found.stdout
    assert "fisher_mahalanobis" in found.stdout
    assert "Try next" in found.stderr
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "digits-step1000.onnx" in page
    assert "letters" in page


def test_the_demo_does_not_touch_another_project(entangle, tmp_path):
    (tmp_path / "entangle.toml").write_text("[data]\nx = 'y'\n")
    found = entangle("demo", tmp_path)
    assert found.code == 2
    assert "there is a project already" in found.error
    assert (tmp_path / "entangle.toml").read_text() == "[data]\nx = 'y'\n"


def test_the_demo_looks_where_it_writes_before_it_trains(entangle, tmp_path):
    (tmp_path / "taken").write_text("a file")
    found = entangle("demo", tmp_path / "taken")
    assert found.code == 2
    assert "a file, not a folder" in found.error
    assert "training" not in found.stderr
