"""An example that is told to end does, with all results so far and the true number of steps."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.examples.loading import ROOT
from tests.rarely import mostly

IN_EVERY_RUN = {"nmr_silhouette": signal.SIGINT, "fit_silhouettes": signal.SIGTERM}
FITS = sorted(
    path.stem
    for path in (ROOT / "examples").glob("*.py")
    if any(name in path.read_text() for name in ("tsr.Adam", "tsr.SGD", "tsr.GaussNewton"))
)
ONE_LINE = (
    "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
    "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("name", mostly(FITS, IN_EVERY_RUN))
def test_results_so_far(tmp_path, name):
    """The signal comes soon after the folder is made: one step is done, or a few."""
    script, out = ROOT / "examples" / f"{name}.py", tmp_path / "out" / name
    process = subprocess.Popen(
        [sys.executable, script], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while process.poll() is None and not out.exists():
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(IN_EVERY_RUN.get(name, signal.SIGINT))
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert 1 <= json.loads((out / "result.json").read_text())["steps"] < 9
    files = {path.name: path.stat().st_size for path in out.iterdir()}
    assert len(files) > 1 and all(files.values())
    assert not [file for file in files if file.startswith(".")]


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_a_full_disk_is_one_line_before_the_work(tmp_path):
    script = ROOT / "examples" / "nmr_silhouette.py"
    ended = subprocess.run(
        [sys.executable, "-c", ONE_LINE, script], cwd=tmp_path, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert ended.stderr.strip() == "[Errno 27] File too large: 'out/nmr_silhouette'"
