"""Some hundred damaged files, in a process of its own: no crash, no hang."""

import subprocess
import sys

import pytest

from tests.hostile.files import KINDS

FILES_A_KIND = 40
SECONDS = 120.0


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)
def test_damaged_files_are_read_or_refused(kind):
    seeds = f"range({kind}, {kind + FILES_A_KIND * len(KINDS)}, {len(KINDS)})"
    command = f"""
from taichi_softras.runtime import ti
from tests.hostile.files import run
ti.init(arch=ti.cpu, log_level=ti.ERROR)
for seed in {seeds}:
    run(seed)
"""
    result = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, timeout=SECONDS
    )
    assert result.returncode == 0, result.stderr[-2000:]
