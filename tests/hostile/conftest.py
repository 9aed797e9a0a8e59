"""A bench with sound files for every case."""

import os
import shutil

# as the command line does, before any test imports torch or h5py
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

import pytest


@pytest.fixture(scope="session")
def sound_files(tmp_path_factory):
    """One folder of sound files; copy it, do not write into it."""
    from sound import write_sound_files

    folder = tmp_path_factory.mktemp("sound")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_sound_files(folder)
    return folder


@pytest.fixture
def make_bench(sound_files, tmp_path, monkeypatch):
    """Makes a bench for a case and seed, and goes to its folder."""
    from bench import Bench, generator
    from sound import data

    def make(name: str, seed: int = 0) -> Bench:
        folder = tmp_path / "bench"
        shutil.copytree(sound_files, folder)
        monkeypatch.chdir(folder)
        return Bench(folder, generator(name, seed), *data())

    return make
