"""A few hundred random hostile scenes; thousands: `python -m tests.hostile --scenes 10000`."""

from tests.hostile.processes import check_scenes, seeds_from

SCENES, STRUCTURES = 240, 8


def test_hostile_scenes(pytestconfig):
    for arch in pytestconfig.getoption("--arch").split(","):
        reports = check_scenes(seeds_from(0, SCENES, STRUCTURES), arch)
        failed = [report for report in reports if report.failures]
        assert not failed, "\n".join(f"--arch {arch} --seed {r.seed}: {r.failures}" for r in failed)
