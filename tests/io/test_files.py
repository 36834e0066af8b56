"""What is written is there as a whole or not at all; errors name the file that was wanted."""

import contextlib
import os

import numpy as np
import pytest

from taichi_softras.io.files import written_beside
from taichi_softras.io.images import save_gif, save_image, save_video
from taichi_softras.io.meshes import save_mesh

resource = pytest.importorskip("resource")
LIMIT = 4096  # bytes of a file
NOISE = np.random.default_rng(0).uniform(size=(3, 64, 64, 3))
WRITERS = {
    "image.png": lambda path: save_image(path, NOISE[0]),
    "film.gif": lambda path: save_gif(path, NOISE),
    "video.gif": lambda path: save_video(path, NOISE),
    "mesh.obj": lambda path: save_mesh(path, NOISE.reshape(-1, 3), np.arange(999).reshape(-1, 3)),
    "mesh.ply": lambda path: save_mesh(path, NOISE.reshape(-1, 3), np.arange(999).reshape(-1, 3)),
}


@contextlib.contextmanager
def full_disk():
    """No file may grow beyond LIMIT."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of trimesh's file
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_an_error_and_leaves_what_was_there(tmp_path, name):
    path = tmp_path / name
    path.write_text("before")
    with full_disk(), pytest.raises(OSError, match=name):
        WRITERS[name](path)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert path.read_text() == "before"
    WRITERS[name](path)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert path.stat().st_size > LIMIT


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_is_missing_is_named(tmp_path, name):
    with pytest.raises(OSError, match="missing"):
        WRITERS[name](tmp_path / "missing" / name)


def test_nothing_is_seen_before_all_is_written(tmp_path):
    """An error of the writer, too, removes what was written."""
    path = tmp_path / "a.txt"
    with written_beside(path) as beside:
        beside.write_text("half")
        assert not path.exists() and beside.parent == tmp_path and beside.suffix == ".txt"
    assert path.read_text() == "half"
    with pytest.raises(KeyError), written_beside(path) as beside:
        beside.write_text("other")
        raise KeyError
    assert path.read_text() == "half" and os.listdir(tmp_path) == ["a.txt"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link.txt").symlink_to(tmp_path / "file.txt")
    with written_beside(tmp_path / "link.txt") as beside:
        beside.write_text("text")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "file.txt").read_text() == "text"
