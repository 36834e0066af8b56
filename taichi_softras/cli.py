"""The command line, for those who write no code: `taichi-softras render`, `info`, `devices`.

What goes wrong is one sentence on stderr: exit code 2 for a command that cannot be meant, 1 for one
that cannot be done, and then nothing is written.
"""

import argparse
import contextlib
import os
import pathlib
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Callable, Optional

import numpy as np

import taichi_softras as tsr
from taichi_softras.io.creases import split_creases
from taichi_softras.io.describe import describe
from taichi_softras.io.files import written_together
from taichi_softras.io.images import check_film, save_image, save_video
from taichi_softras.io.meshes import join_meshes, load_mesh
from taichi_softras.io.textures import to_bytes
from taichi_softras.io.viewing import sheet
from taichi_softras.preview import (
    AZIMUTH,
    ELEVATION,
    FOV_Y,
    SIZE,
    WHITE,
    Preview,
    cameras_around,
)
from taichi_softras.rasterizers.base import Rasterizer
from taichi_softras.runtime import ti
from taichi_softras.shading.base import Shading
from taichi_softras.shading.outputs import OUTPUTS
from taichi_softras.smoke import start

NAME = "taichi-softras"
ARCHS = ("cpu", "cuda", "vulkan", "metal")
PICTURES, FILMS = (".png", ".jpg", ".jpeg"), (".gif", ".mp4")
VIEWS_OF_FILM, FRAMES_PER_SECOND = 60, 20.0
LARGEST_SIDE = 2**14
PATIENCE = 120  # seconds that a backend has to draw a triangle


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> Any:
        """See `argparse.ArgumentParser`."""
        self.exit(2, f"{NAME}: {message} (see --help)\n")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs a command.

    Args:
        arguments: behind the program's name; its own when left out.

    Returns:
        The exit code.

    Raises:
        SystemExit: with a sentence, or the code 2 after one.
    """
    chosen = _make_parser().parse_args(arguments)
    with tsr.scripts.plain_errors(f"{NAME}: "), _plain_warnings():
        try:
            code = chosen.run(chosen)
            sys.stdout.flush()
            return code
        except BrokenPipeError:  # `| head` has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except (ValueError, ImportError, RuntimeError, MemoryError) as error:
            sentence = " ".join(str(error).split()) or type(error).__name__
            raise SystemExit(f"{NAME}: {sentence}") from error


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings of this package are a line each, those of others are not shown."""

    def show(message, *_, **__):
        print(f"{NAME}: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", category=UserWarning, module="taichi_softras")
        warnings.showwarning = show
        yield


def render(chosen: argparse.Namespace) -> int:
    """Draws meshes, then writes the picture or film and those of the outputs."""
    path = chosen.out
    is_film = path.suffix.lower() in FILMS
    if is_film:
        check_film(path)
    arrays = split_creases(join_meshes([load_mesh(one) for one in chosen.mesh]))
    tsr.scripts.folder(path.parent)
    start(chosen.arch)
    mesh = tsr.Mesh.from_arrays(arrays)
    cameras, image_size = _cameras_of(chosen, mesh, is_film)
    preview = Preview(
        mesh,
        cameras,
        image_size,
        None if chosen.rasterizer is None else chosen.rasterizer(),
        None if chosen.shading is None else chosen.shading(),
        chosen.outputs,
        chosen.background,
    )
    views: list = []
    for view in tsr.scripts.progress(range(cameras.num_views), "drawing"):
        views.append({name: to_bytes(one) for name, one in preview.draw(view).items()})
    files = [path, *(path.with_name(f"{path.stem}_{name}{path.suffix}") for name in chosen.outputs)]
    with written_together(files) as besides:
        for name, beside in zip(views[0], besides):
            pictures = np.stack([view[name] for view in views])
            if is_film:
                save_video(beside, pictures, FRAMES_PER_SECOND)
            else:
                save_image(beside, sheet(pictures))
    print(*files, sep="\n")
    return 0


def _cameras_of(chosen: argparse.Namespace, mesh: tsr.Mesh, is_film: bool) -> tuple:
    """Those of a capture, or around the mesh, and (H, W)."""
    if chosen.capture:
        for name in ("views", "camera", "fov"):
            if getattr(chosen, name) is not None:
                chosen.refuse(f"--capture says where the cameras stand: leave out --{name}")
        cameras, _ = tsr.io.load_cameras(chosen.capture, needs_grad=False, undistort=False)
        return cameras, cameras.image_size if chosen.size is None else chosen.size[::-1]
    width, height = chosen.size or SIZE
    count = chosen.views or (VIEWS_OF_FILM if is_film else 1)
    elevation, azimuth = chosen.camera or (ELEVATION, AZIMUTH)
    azimuths = azimuth + np.arange(count) * 360.0 / count
    fov = FOV_Y if chosen.fov is None else chosen.fov
    return cameras_around(mesh, azimuths, elevation, fov, width / height), (height, width)


def info(chosen: argparse.Namespace) -> int:
    """Prints what files hold; what is missing or not followed is a warning each."""
    for path in chosen.mesh:
        for name, fact in {"file": path, **describe(load_mesh(path))}.items():
            print(f"{name + ':':11} {fact}")
    return 0


def devices(_: argparse.Namespace) -> int:
    """Prints the runtime, and which of its backends draw here; 1 if none does."""
    version = ".".join(map(str, ti.__version__))
    system = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    print(f"{NAME} {tsr.__version__}, {tsr.runtime.choice.TITLE} {version}, {system}")
    found = []
    for arch in tsr.scripts.progress(ARCHS, "drawing a triangle on each"):
        begin = time.perf_counter()
        problem = _try(arch)
        found.append(not problem)
        print(f"{arch:7} {problem or f'draws ({time.perf_counter() - begin:.1f} s)'}", flush=True)
    return 0 if any(found) else 1


def _try(arch: str) -> str:
    """What goes wrong on a backend; in a process of its own, which may crash."""
    command = [sys.executable, "-m", "taichi_softras.smoke", arch]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"does not answer in {PATIENCE} s"
    if ended.returncode == 0:
        return ""
    if ended.returncode < 0:
        return f"crashes (signal {-ended.returncode})"
    said = (ended.stderr or ended.stdout).strip().splitlines()
    return said[-1].split(f"{arch} ", 1)[-1] if said else f"ends with {ended.returncode}"


def _make_parser() -> argparse.ArgumentParser:
    parser = Parser(prog=NAME, description="Draws meshes from files, without writing code.")
    parser.add_argument("--version", action="version", version=f"{NAME} {tsr.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser(
        "render", help="draw meshes", description="Draws meshes, joined, framed and lit."
    )
    one.set_defaults(run=render, refuse=one.error)
    one.add_argument("mesh", nargs="+", metavar="MESH", help="OBJ, PLY, OFF, STL, GLB, glTF")
    add = one.add_argument
    add(
        *("-o", "--out"),
        type=_out,
        required=True,
        metavar="OUT",
        help=f"picture ({', '.join(PICTURES)}) or film ({', '.join(FILMS)})",
    )
    film = f"1 for a picture, {VIEWS_OF_FILM} for a film"
    add("--views", type=_positive, metavar="N", help=f"views all around, default: {film}")
    size = f"default: {SIZE[0]}, or that of the capture"
    add("--size", type=_size, metavar="SIDE|WxH", help=size)
    add(
        "--capture",
        metavar="FILE",
        help="the cameras of a transforms.json or of a folder of COLMAP, in place of those around",
    )
    add(
        "--camera",
        nargs=2,
        type=float,
        metavar=("ELEVATION", "AZIMUTH"),
        help=f"degrees, default: {ELEVATION:g} {AZIMUTH:g}",
    )
    add("--fov", type=float, help=f"from bottom to top, default: {FOV_Y:g} degrees")
    colour = "behind the mesh: a name, or #rrggbb; default: white"
    add("--background", type=_color, default=WHITE, metavar="COLOUR", help=colour)
    rasterizers, shadings = _named(Rasterizer), _named(Shading)
    add("--rasterizer", type=_one_of(rasterizers), metavar="R", help=", ".join(rasterizers))
    add("--shading", type=_one_of(shadings), metavar="S", help=", ".join(shadings))
    add(
        "--outputs",
        type=_outputs,
        default=(),
        metavar="NAME,...",
        help=f"further pictures, OUT_NAME beside OUT: {', '.join(OUTPUTS)}",
    )
    add("--arch", choices=ARCHS, default="cpu", help="what draws, default: cpu")
    one = commands.add_parser("info", help="say what files hold", description=info.__doc__)
    one.set_defaults(run=info)
    one.add_argument("mesh", nargs="+", metavar="MESH")
    one = commands.add_parser("devices", help="say what draws here", description=devices.__doc__)
    one.set_defaults(run=devices)
    return parser


def _named(kind: type) -> dict:
    """The rasterizers or shadings of the package by their names."""
    members = {name: getattr(tsr, name) for name in tsr.__all__}
    return {
        name: member
        for name, member in members.items()
        if isinstance(member, type) and issubclass(member, kind) and member is not kind
    }


def _one_of(classes: dict) -> Callable:
    """A type for arguments: a name, in capitals or not, with or without underscores."""

    def find(text: str) -> type:
        for name, member in classes.items():
            if name.lower() == text.replace("_", "").replace("-", "").lower():
                return member
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(classes)}")

    return find


def _out(text: str) -> pathlib.Path:
    path = pathlib.Path(text).expanduser()
    if path.suffix.lower() not in PICTURES + FILMS:
        raise argparse.ArgumentTypeError(f"{text} must end in {', '.join(PICTURES + FILMS)}")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder")
    return path


def _outputs(text: str) -> list:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in OUTPUTS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(OUTPUTS)}")
    return list(dict.fromkeys(names))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {text!r}")
    return int(text)


def _color(text: str) -> tuple:
    """Three numbers in [0, 1] of a name or `#rrggbb`."""
    from PIL import ImageColor

    try:
        return tuple(level / 255 for level in ImageColor.getrgb(text)[:3])
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a name such as black, or #rrggbb, got {text!r}"
        ) from None


def _size(text: str) -> tuple:
    """(W, H) of `640x480` or `512`."""
    sides = text.lower().split("x")
    is_right = len(sides) in (1, 2) and all(side.isdecimal() for side in sides)
    if not is_right or not all(1 <= int(side) <= LARGEST_SIDE for side in sides):
        raise argparse.ArgumentTypeError(
            f"must be such as 512 or 640x480, sides up to {LARGEST_SIDE}, got {text!r}"
        )
    return int(sides[0]), int(sides[-1])
