"""Scenes in a process of their own: what crashes or hangs there is a failure like any other."""

import itertools
import multiprocessing
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import taichi as ti

from tests.hostile import projected, worlds
from tests.hostile.checks import Failure

STRUCTURES = (*projected.STRUCTURES, *worlds.STRUCTURES)
SECONDS = 300.0  # of one scene, the first of its structure: compiled on a machine that is busy


class Report(NamedTuple):
    """How a scene went."""

    seed: int
    description: str
    failures: list


def structure_of(seed: int) -> int:
    """Which structure the scene of a seed has."""
    return seed % len(STRUCTURES)


def seeds_from(first: int, count: int, num_structures: int = len(STRUCTURES)) -> list:
    """The first `count` seeds whose structures are among a few; sorted by structure."""
    chosen = set(np.random.default_rng(0).permutation(len(STRUCTURES))[:num_structures])
    seeds = (seed for seed in itertools.count(first) if structure_of(seed) in chosen)
    return sorted(itertools.islice(seeds, count), key=structure_of)


def check_scenes(
    seeds: Iterable, arch: str = "cpu", precision: str = "f32", seconds: float = SECONDS
) -> Iterator[Report]:
    """Reports of all seeds; a process that ends or hangs is followed by another."""
    worker = None
    for seed in seeds:
        worker = worker or Worker(arch, precision)
        report = worker.ask(seed, seconds)
        if not worker.process.is_alive():
            worker = None
        yield report
    if worker is not None:
        worker.stop()


class Worker:
    """The process with a Taichi runtime."""

    def __init__(self, arch: str, precision: str):
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, arch, precision), daemon=True)
        self.process.start()
        other.close()

    def ask(self, seed: int, seconds: float) -> Report:
        """The report of one scene."""
        self.pipe.send(seed)
        if not self.pipe.poll(seconds):
            self.stop()
            return Report(seed, "", [Failure("hang", f"no answer in {seconds:g} seconds")])
        try:
            return Report(seed, *self.pipe.recv())
        except EOFError:
            self.process.join()
            code = self.process.exitcode
            return Report(seed, "", [Failure("crash", f"the process ended with {code}")])

    def stop(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.join()


def serve(pipe, arch: str, precision: str) -> None:
    """In the process: checks the scene of each seed that comes."""
    ti.init(
        arch=getattr(ti, arch),
        default_fp=getattr(ti, precision),
        log_level=ti.ERROR,
        random_seed=0,
        unrolling_limit=0,
    )
    while True:
        seed = pipe.recv()
        description, failures = STRUCTURES[structure_of(seed)].check(seed, arch == "cpu")
        pipe.send((description, failures))
