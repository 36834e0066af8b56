"""Scripts that are told to end, and places where nothing can be written."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from taichi_softras import scripts

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def handlers_are_as_before():
    """Python's own while a test runs, also where SIGINT is ignored: of a job in the background."""
    found = [signal.signal(signal.SIGINT, signal.default_int_handler)]
    found.append(signal.getsignal(signal.SIGTERM))
    yield
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == found[1]
    signal.signal(signal.SIGINT, found[0])


def test_a_signal_that_was_ignored_ends_too():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    steps = []
    for step in scripts.interruptible(range(3)):
        os.kill(os.getpid(), signal.SIGINT)
        steps.append(step)
    assert steps == [0] and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("when", ["before", 0, 3])
def test_a_signal_ends_after_the_step_it_came_in(number, when, capsys):
    run, done = scripts.interruptible(range(10)), []
    if when == "before":
        os.kill(os.getpid(), number)
    for step in run:
        if step == when:
            os.kill(os.getpid(), number)
        done.append(step)
    assert done == list(range(1 if when == "before" else when + 1))
    assert "ending after this step" in capsys.readouterr().err


def test_a_second_signal_acts_as_ever():
    with pytest.raises(KeyboardInterrupt):
        for _ in scripts.interruptible(range(3)):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)


def test_all_steps_are_done_when_nobody_calls():
    assert list(scripts.interruptible("abc")) == ["a", "b", "c"]
    for step in scripts.interruptible(range(9)):
        if step == 2:
            break


def test_a_loop_that_raised_gives_signals_back():
    with pytest.raises(ZeroDivisionError):
        for step in scripts.interruptible(range(3)):
            1 / step


def test_another_thread_goes_through_its_steps():
    done = []
    thread = threading.Thread(target=lambda: done.extend(scripts.interruptible(range(3))))
    thread.start()
    thread.join()
    assert done == [0, 1, 2]


def test_a_folder_is_made_and_tried(tmp_path):
    made = scripts.folder(tmp_path / "a" / "b")
    assert made == tmp_path / "a" / "b" and os.listdir(made) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        scripts.folder(tmp_path / "file")


def test_results_are_json_text_or_a_figure(tmp_path):
    class Figure:
        def savefig(self, path, dpi):
            path.write_text(f"{path.suffix} {dpi}")

    scripts.save(tmp_path / "a.json", {"steps": 3})
    scripts.save(tmp_path / "a.csv", "step,loss\n")
    scripts.save(tmp_path / "a.png", Figure(), dpi=90)
    assert json.loads((tmp_path / "a.json").read_text()) == {"steps": 3}
    assert (tmp_path / "a.csv").read_text() == "step,loss\n"
    assert (tmp_path / "a.png").read_text() == ".png 90"
    assert len(os.listdir(tmp_path)) == 3


@pytest.mark.parametrize(
    "line, sentence",
    [
        ("scripts.folder('{tmp}')", "[Errno 27] File too large: '{tmp}'"),
        ("scripts.save('{tmp}/a.json', 'a' * 9999)", "[Errno 27] File too large: '{tmp}/a.json'"),
        ("scripts.folder('{tmp}/file')", "[Errno 17] File exists: '{tmp}/file'"),
        ("load_mesh('{tmp}/none.obj')", "{tmp}/none.obj is not there"),
        ("os.kill(os.getpid(), signal.SIGINT)", "interrupted"),
    ],
)
def test_what_is_no_fault_of_the_script_is_one_line(tmp_path, line, sentence):
    """The limit is what a full disk or a quota is."""
    pytest.importorskip("resource")
    (tmp_path / "file").write_text("")
    code = f"""
import os, resource, signal
from taichi_softras import scripts
from taichi_softras.io.meshes import load_mesh
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
signal.signal(signal.SIGINT, signal.default_int_handler)
with scripts.plain_errors():
    {line.format(tmp=tmp_path)}
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stderr == sentence.format(tmp=tmp_path) + "\n"
    assert ended.returncode == 1
    assert os.listdir(tmp_path) == ["file"]
