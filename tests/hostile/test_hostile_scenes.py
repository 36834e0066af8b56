"""A few hundred random hostile scenes; thousands: `python -m tests.hostile --scenes 10000`."""

import os
import time

import pytest

from tests.hostile.processes import check_scenes, seeds_from

SCENES, STRUCTURES = 90, 3  # on the CPU; a third of them elsewhere


@pytest.mark.slow
def test_hostile_scenes(pytestconfig):
    for arch in pytestconfig.getoption("--arch").split(","):
        share = 1 if arch == "cpu" else 3
        reports = check_scenes(seeds_from(0, SCENES // share, STRUCTURES // share), arch)
        failed = [report for report in reports if report.failures]
        assert not failed, "\n".join(f"--arch {arch} --seed {r.seed}: {r.failures}" for r in failed)


def crash(pipe, arch, precision):
    pipe.recv()
    os.abort()


def hang(pipe, arch, precision):
    time.sleep(60.0)


@pytest.mark.parametrize("serve, seconds", [(crash, 60.0), (hang, 0.5)])
def test_what_ends_or_hangs_is_reported_with_its_seed(serve, seconds):
    reports = list(check_scenes([3, 4], seconds=seconds, serve=serve))
    assert [report.seed for report in reports] == [3, 4]
    assert [report.failures[0].kind for report in reports] == [serve.__name__] * 2
