"""Runs the examples, each with every rasterizer that it offers, and tabulates their figures.

    python benchmarks/bench_examples.py                 # all, some ten minutes
    python benchmarks/bench_examples.py camera_pose sim_cloth

A process each, so that compilation counts; a row is written as soon as its run ends.
"""

import argparse
import ast
import json
import pathlib
import subprocess
import sys
import tempfile
import time

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / "examples"
RUN = """
import importlib.util, json, sys
from taichi_softras.runtime import ti
name, path, output, *rasterizer = sys.argv[1:]
spec = importlib.util.spec_from_file_location(name, path)
example = importlib.util.module_from_spec(spec)
ti.init(arch=ti.cpu, log_level=ti.ERROR)
spec.loader.exec_module(example)
settings = dict(zip(["rasterizer"], rasterizer))
print("FIGURES", json.dumps(example.main(output=output, **settings), default=float))
"""


def rasterizers_of(path):
    """The keys of the script's RASTERIZERS, or one run without an argument."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "RASTERIZERS":
            return [[ast.literal_eval(key)] for key in node.value.keys]
    return [[]]


def run(path, rasterizer):
    """The figures that `main` returns, and the seconds of the whole process."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-c", RUN, path.stem, path, output, *rasterizer]
        process = subprocess.run(command, capture_output=True, text=True, cwd=EXAMPLES.parent)
    lines = [line for line in process.stdout.splitlines() if line.startswith("FIGURES ")]
    if not lines:
        return {"failed": process.stderr.strip().splitlines()[-1:]}
    return {**json.loads(lines[0][8:]), "whole_process_seconds": time.perf_counter() - started}


def main(names):
    for path in sorted(EXAMPLES.glob("*.py")):
        if names and path.stem not in names:
            continue
        for rasterizer in rasterizers_of(path):
            figures = run(path, rasterizer)
            cells = [
                f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                for key, value in figures.items()
            ]
            print("|", path.stem, "|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of examples; all when left out")
    main(parser.parse_args().names)
