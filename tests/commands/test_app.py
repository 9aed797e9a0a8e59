"""The installed command as a user runs it: exit codes, streams, signals, what help imports."""

import signal
import subprocess
import sys
import time

import pytest


def run(*words: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "entangle_cli", *words],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['entangle', '--help']\n"
        "from entangle_cli.app import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'numba', 'onnxruntime', 'onnx', 'numpy', 'h5py', 'rich.console'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stdout


def test_the_version_is_printed():
    from entangle_cli import __version__

    assert run("--version").stdout == f"entangle {__version__}\n"


@pytest.mark.parametrize("words", [["measrue"], ["measure", "--colour"], ["dump", "one-only"]])
def test_a_wrong_command_line_has_exit_code_two(words):
    done = run(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_bad_file_gives_one_line_and_no_traceback(tmp_path):
    (tmp_path / "model.onnx").write_text("<html>not found</html>")
    done = run("layers", str(tmp_path / "model.onnx"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")


def test_a_closed_pipe_is_no_error(project_folder):
    line = f"{sys.executable} -m entangle_cli inspect digits --json | head -c 1"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, cwd=project_folder)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_with_its_exit_code_and_one_line(project_folder, tmp_path, number, code):
    output = tmp_path / "out"
    words = ["measure", "--protocol", "batches:300x100000", "test", "-o", str(output)]
    process = subprocess.Popen(
        [sys.executable, "-m", "entangle_cli", *words],
        cwd=project_folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    # the output folder appears when the measuring begins
    deadline = time.monotonic() + 60
    while not output.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert "stopped" in stderr
    assert "Traceback" not in stderr
    assert not output.exists()


def test_the_library_can_be_used_without_the_command_line():
    import entangle_cli

    for name in entangle_cli.__all__:
        assert getattr(entangle_cli, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        entangle_cli.nothing  # noqa: B018
