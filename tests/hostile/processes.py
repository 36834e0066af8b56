"""Scenes in a process of their own: what crashes or hangs there is a failure like any other."""

import contextlib
import itertools
import multiprocessing
from collections.abc import Iterable, Iterator
from typing import Callable, NamedTuple, Optional

from taichi_softras.runtime import ti
from tests.hostile import files, projected, worlds
from tests.hostile.checks import Failure

STRUCTURES = (*projected.STRUCTURES, *worlds.STRUCTURES)
STRIDE = 69  # without a factor in common with their number; so chosen, the first few are unlike
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
    chosen = {k * STRIDE % len(STRUCTURES) for k in range(num_structures)}
    seeds = (seed for seed in itertools.count(first) if structure_of(seed) in chosen)
    return sorted(itertools.islice(seeds, count), key=structure_of)


def check_scenes(
    seeds: Iterable,
    arch: str = "cpu",
    precision: str = "f32",
    seconds: float = SECONDS,
    serve: Optional[Callable] = None,
) -> Iterator[Report]:
    """Reports of all seeds; a process that ends or hangs is followed by another.

    Args:
        seeds: of the scenes.
        arch, precision: of Taichi.
        seconds: until a scene counts as one that hangs.
        serve: what the process does, `serve_scenes` when left out.
    """
    worker = None
    for seed in seeds:
        worker = worker or Worker(serve or serve_scenes, arch, precision)
        yield worker.ask(seed, seconds)
        if worker.has_failed:
            worker = None
    if worker is not None:
        worker.stop()


class Worker:
    """The process, and the way to ask it.

    Attributes:
        has_failed: whether it has ended, or was ended.
    """

    def __init__(self, serve: Callable, arch: str, precision: str):
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, arch, precision), daemon=True)
        self.process.start()
        other.close()
        self.has_failed = False

    def ask(self, seed: int, seconds: float) -> Report:
        """The report of one scene."""
        with contextlib.suppress(EOFError, OSError):  # it has ended
            self.pipe.send(seed)
            if self.pipe.poll(seconds):
                return Report(seed, *self.pipe.recv())
            failure = Failure("hang", f"no answer in {seconds:g} seconds")
            self.stop()
            return Report(seed, "", [failure])
        self.process.join(5.0)
        self.stop()
        failure = Failure("crash", f"the process ended with {self.process.exitcode}")
        return Report(seed, "", [failure])

    def stop(self) -> None:
        """Ends the process."""
        self.has_failed = True
        self.process.kill()
        self.process.join()


def serve_scenes(pipe, arch: str, precision: str) -> None:
    """In the process: checks the scene of each seed that comes."""
    start_taichi(arch, precision)
    answer(pipe, lambda seed: STRUCTURES[structure_of(seed)].check(seed, arch == "cpu"))


def serve_files(pipe, arch: str, precision: str) -> None:
    """In the process: reads the damaged file of each seed that comes."""
    start_taichi(arch, precision)
    answer(pipe, check_file)


def check_file(seed: int) -> tuple:
    """(the kind of the file, the failures) of a damaged file."""
    kind = files.KINDS[seed % len(files.KINDS)]
    try:
        files.run(seed)
    except Exception as error:
        return kind, [Failure(f"{type(error).__name__} [{kind}]", str(error))]
    return kind, []


def start_taichi(arch: str, precision: str) -> None:
    """Once in a process."""
    ti.init(
        arch=getattr(ti, arch),
        default_fp=getattr(ti, precision),
        log_level=ti.ERROR,
        random_seed=0,
        unrolling_limit=0,
    )


def answer(pipe, check: Callable) -> None:
    """Sends what `check` finds for each seed that comes: a description and failures."""
    while True:
        pipe.send(check(pipe.recv()))
