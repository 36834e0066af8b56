"""Draws random hostile scenes: `python -m tests.hostile --scenes 10000`.

A scene follows from its seed alone: `--seed 1234 --scenes 1` repeats one. With `--files` damaged
files are read in place of scenes.
"""

import argparse
import collections
import sys

from tests.hostile.processes import SECONDS, STRUCTURES, check_scenes, seeds_from, serve_files


def main() -> int:
    """Prints each failure when it is found, at the end how many of which kind; 1 if there are."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="the first; the others follow it")
    parser.add_argument("--files", action="store_true", help="read damaged files")
    parser.add_argument("--arch", default="cpu", help="cpu, vulkan, cuda or metal")
    parser.add_argument("--f64", action="store_true", help="double precision")
    parser.add_argument(
        "--structures",
        type=int,
        default=len(STRUCTURES),
        help="so many kinds of scenes, each of which compiles its kernels",
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="until a scene hangs")
    parser.add_argument("--verbose", action="store_true", help="print what each scene is")
    arguments = parser.parse_args()
    seeds = seeds_from(arguments.seed, arguments.scenes, arguments.structures)
    precision = "f64" if arguments.f64 else "f32"
    serve, which = None, ""
    if arguments.files:
        serve, which = serve_files, "--files "
        seeds = range(arguments.seed, arguments.seed + arguments.scenes)
    found = collections.defaultdict(list)
    for report in check_scenes(seeds, arguments.arch, precision, arguments.seconds, serve):
        if arguments.verbose or report.failures:
            print(f"{which}--seed {report.seed} --scenes 1: {report.description}", flush=True)
        for failure in report.failures:
            print(f"    {failure.kind}: {failure.message}", flush=True)
            found[failure.kind].append(report.seed)
    for kind, failed in sorted(found.items(), key=lambda item: -len(item[1])):
        print(f"{len(failed):6} x {kind}, first {which}--seed {failed[0]}")
    failed = set().union(*found.values())
    print(f"{len(seeds)} tried, {len(failed)} with failures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
