"""Hostile scenes through `Renderer` in a tape: meshes, cameras and lights.

Numbers of vertices, faces and pixels are few, as fields of new shapes compile their copies anew.
"""

import functools
from typing import Callable, NamedTuple

import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti
from tests.hostile.checks import Findings, Refused
from tests.hostile.dice import NOT_FINITE, Dice
from tests.hostile.methods import Choices, choices_of, make_rasterizer

SHADINGS = (tsr.Unlit(), tsr.Flat(), tsr.Gouraud(), tsr.Silhouette(), tsr.Depth())
LIGHTS = ("one light", "three lights", "harmonics")
CAMERAS = ("perspective", "parallel", "matrices", "matrix and angle")
CAMERA_FIELDS = "eye target up fov_y_degrees height view_from_world clip_from_view".split()
LIGHT_FIELDS = "ambient directions colors coefficients".split()
REGULARISERS = (
    tsr.losses.laplacian,
    tsr.losses.laplacian_length,
    tsr.losses.flatten,
    tsr.losses.normal_consistency,
    tsr.losses.edge_length,
)
SIZES = ((16, 16), (1, 1), (9, 20), (1, 300), (40, 3))
NUM_VERTICES, NUM_FACES, NUM_VIEWS = 9, 12, 2
COLORS = {  # and where there are some
    "vertex_colors": (NUM_VERTICES,),
    "texels": (NUM_FACES, 3, 3),
    "texture_cubes": (NUM_FACES, 3, 3, 3),
}
LARGEST_HARMONIC = 0.64  # of those up to order 2, with the shares that a matt surface blurs them to


class Structure(NamedTuple):
    """What is compiled: what is drawn how, and the shapes of all fields."""

    choices: Choices
    shading: tsr.Shading
    colors: str
    light: str
    camera: str
    has_outputs: bool
    is_moving: bool
    image_size: tuple

    def check(self, seed: int, is_deterministic: bool) -> tuple:
        """(a description, the failures) of one scene."""
        dice = Dice(seed)
        shading = type(self.shading).__name__
        findings = Findings(dice, f"{self.choices.method.__name__} {shading} Renderer")
        world = None
        try:
            with findings.refusals():
                world = World(dice, self)
            check_world(findings, world, is_deterministic)
        except Refused:
            pass
        rasterizer = world and world.renderer.rasterizer
        return f"{self}, {rasterizer}, {' '.join(dice.words)}", findings.failures


def make_structures() -> list:
    """Every shading with every method; of the other choices any two meet."""
    methods = choices_of(3)
    structures = []
    for s, shading in enumerate(SHADINGS):
        for m, method in enumerate(
            (
                tsr.SoftAggregation,
                tsr.KNearest,
                tsr.ApproximateGradient,
                tsr.FilteredDerivative,
                tsr.Prefiltered,
                tsr.Antialiased,
            )
        ):
            of_method = [choices for _, choices in methods if choices.method is method]
            structures.append(
                Structure(
                    of_method[(2 * s + m) % len(of_method)],
                    shading,
                    tuple(COLORS)[(s + m) % 3],
                    LIGHTS[(s + 2 * m) % 3],
                    CAMERAS[(s + m) % 4],
                    (s + m) % 2 == 0,
                    (s // 2 + m) % 2 == 0,
                    SIZES[(s + m) % 5],
                )
            )
    return structures


STRUCTURES = make_structures()


class World:
    """A mesh, cameras, lights, and their renderer."""

    def __init__(self, dice: Dice, structure: Structure):
        """Makes them by the dice.

        Raises:
            ValueError: for numbers that are refused.
        """
        self.structure = structure
        reads_color = not isinstance(structure.shading, (tsr.Silhouette, tsr.Depth))
        is_lit = isinstance(structure.shading, (tsr.Flat, tsr.Gouraud))
        channels = 3 if reads_color else 0
        rasterizer = make_rasterizer(dice, structure.choices, channels)
        frames = [make_vertices(dice) for _ in range(NUM_VIEWS if structure.is_moving else 1)]
        vertices = np.stack(frames) if structure.is_moving else frames[0]
        self.vertices, self.colors = vertices, dice.colors(*COLORS[structure.colors], 3)
        self.mesh = tsr.Mesh(vertices, make_faces(dice), **{structure.colors: self.colors})
        self.camera = CAMERA_MAKERS[structure.camera](dice)
        self.lights, self.light_bounds = make_lights(dice, structure.light)
        self.renderer = tsr.Renderer(
            self.mesh,
            self.camera,
            structure.image_size,
            rasterizer=rasterizer,
            shading=structure.shading,
            lights=self.lights if is_lit else None,
            views_per_pass=dice.choice((None, 1)),
            outputs=("depth", "normal_world", "position_world") if structure.has_outputs else (),
        )
        self.is_lit, self.reads_color = is_lit, reads_color
        self.fields = {"vertices": self.mesh.vertices}
        if reads_color:
            self.fields["colours"] = getattr(self.mesh, structure.colors)
        self.add_fields(self.camera, CAMERA_FIELDS)
        if is_lit:
            self.add_fields(self.lights, LIGHT_FIELDS)
        self.overwrite(dice)

    def add_fields(self, owner: object, names: list) -> None:
        """Those of these names that the owner has."""
        given = {name: getattr(owner, name, None) for name in names}
        self.fields.update({n: field for n, field in given.items() if isinstance(field, ti.Field)})

    def overwrite(self, dice: Dice) -> None:
        """Rarely writes a number into a field that its object would have refused."""
        if dice.chance(0.06):
            name = dice.choice(list(self.fields))
            values = self.fields[name].to_numpy()
            value = dice.choice(NOT_FINITE)
            if name == "fov_y_degrees":
                value = dice.choice((np.nan, 0.0, -1.0, 180.0, 1e30))
            if name == "vertices":  # of a face: no one asks for a vertex that has none
                values[..., self.mesh.faces_array[0, 0], :] = value
            elif name in ("view_from_world", "clip_from_view"):  # x: not all rows are read
                values[0, 0, dice.generator.integers(4)] = value
            else:
                values.flat[dice.generator.integers(values.size)] = value
            self.write(dice, name, values)
        elif "eye" in self.fields and dice.chance(0.02):
            self.write(dice, "eye", self.fields["target"].to_numpy())

    def write(self, dice: Dice, name: str, values: np.ndarray) -> None:
        """Values that must be refused, to a field."""
        dice.words.append(f"writes {name}")
        dice.must_refuse = True
        self.fields[name].from_numpy(values)

    def bounds(self) -> dict:
        """The least and the largest value, (C,) each, of the image's colours and of outputs.

        Of a method that continues faces beyond their edges there are none.
        """
        shading, rasterizer = self.structure.shading, self.renderer.rasterizer
        if getattr(rasterizer, "clip_barycentric_coords", True) is False:
            return {}
        depths = self.renderer.vertices_ndc.to_numpy()[..., 2].reshape(-1, 1)
        depths = np.concatenate([depths, [[rasterizer.far]]])
        shown = {
            "output depth": depths,
            "output normal_world": np.array([[-1.0] * 3, [1.0] * 3]),
            "output position_world": np.concatenate([self.vertices.reshape(-1, 3), [[0.0] * 3]]),
        }
        if isinstance(shading, tsr.Depth):
            shown["image"] = depths
        elif self.reads_color:
            colors = self.colors.reshape(-1, 3)
            lights = self.light_bounds if self.is_lit else np.ones((2, 3))
            lit = [colors * lights[0], colors * lights[1], [rasterizer.background]]
            shown["image"] = np.concatenate(lit)
        return {name: (values.min(axis=0), values.max(axis=0)) for name, values in shown.items()}

    def run(self, target: np.ndarray) -> dict:
        """Image, outputs, loss and gradients of one tape."""
        loss = make_loss()
        with ti.ad.Tape(loss):
            self.renderer.render()
            tsr.losses.mean_squared_error(self.renderer.image, target, loss)
            for regulariser in () if self.mesh.is_moving else REGULARISERS:
                regulariser(self.mesh, loss, weight=0.1)
        outputs = {f"output {name}": f.to_numpy() for name, f in self.renderer.outputs.items()}
        gradients = {f"gradient of {name}": f.grad.to_numpy() for name, f in self.fields.items()}
        image, of_loss = self.renderer.image.to_numpy(), {"loss": np.array(loss[None])}
        return {"image": image, **outputs, **of_loss, **gradients}


@functools.cache
def make_loss() -> ti.Field:
    """One for all scenes of a process, as Taichi frees no field."""
    return ti.field(float, (), needs_grad=True)


def check_world(findings: Findings, world: World, is_deterministic: bool) -> None:
    """All that holds of every scene."""
    image_size = world.structure.image_size
    channels = world.renderer.image.n
    target = findings.dice.generator.uniform(size=(NUM_VIEWS, *image_size, channels))
    with findings.refusals():
        results = world.run(target)
        bounds = world.bounds()
    unknown = np.full(channels - 1, -np.inf), np.full(channels - 1, np.inf)
    image = results["image"].reshape(*target.shape)
    findings.check_image(image, *bounds.get("image", unknown))
    if findings.dice.must_refuse:
        return
    for name, values in results.items():
        if name.startswith("output") and name in bounds:
            findings.check_within(name, values.reshape(*values.shape[:3], -1), *bounds[name])
    is_beyond = findings.dice.may_refuse and not np.isfinite(results["loss"])
    for name, values in results.items():
        of_loss = name == "loss" or name.startswith("gradient")
        if name != "image" and not (of_loss and is_beyond):  # extreme numbers' squares are infinite
            findings.check_finite(name, values)
    if is_deterministic:
        with findings.refusals():
            repeated = world.run(target)
        for name, values in results.items():
            findings.check_same_bits(name, values, repeated[name])


def make_vertices(dice: Dice) -> np.ndarray:
    """(9, 3) a cube with a vertex that no face of it has, and what became of it."""
    cube, _ = tsr.primitives.cube()
    vertices = np.concatenate([cube, np.zeros((1, 3))]) * dice.scale(0.1, 2.0)
    kind = dice.choice(tuple(DEFORMATIONS))
    dice.words.append(kind.__name__)
    return dice.poison(kind(dice, vertices), "vertices")


def nothing(dice: Dice, vertices: np.ndarray) -> np.ndarray:
    return vertices


def shake(dice: Dice, vertices: np.ndarray) -> np.ndarray:
    return vertices + dice.scale(1e-7, 1.0) * dice.generator.normal(size=vertices.shape)


def flatten(dice: Dice, vertices: np.ndarray) -> np.ndarray:
    """To a plane, a line or a point."""
    axes = dice.generator.permutation(3)[: dice.generator.integers(1, 4)]
    vertices[:, axes] *= dice.choice((0.0, 1e-12, 1e-6))
    return vertices


def weld(dice: Dice, vertices: np.ndarray) -> np.ndarray:
    """Several vertices in one place."""
    return vertices[dice.generator.integers(len(vertices), size=len(vertices))]


def inflate(dice: Dice, vertices: np.ndarray) -> np.ndarray:
    return vertices * dice.scale(10.0, 1e8)


def shrink(dice: Dice, vertices: np.ndarray) -> np.ndarray:
    return vertices * dice.scale(1e-12, 1e-2)


def move(dice: Dice, vertices: np.ndarray) -> np.ndarray:
    """Away from the origin, and in front of or behind cameras."""
    return vertices + dice.scale(1e-3, 1e5) * dice.generator.normal(size=3)


def reach_out(dice: Dice, vertices: np.ndarray) -> np.ndarray:
    """One vertex far away."""
    vertices[dice.generator.integers(len(vertices))] *= dice.scale(10.0, 1e8)
    return vertices


DEFORMATIONS: tuple[Callable, ...] = (
    nothing,
    shake,
    flatten,
    weld,
    inflate,
    shrink,
    move,
    reach_out,
)


def make_faces(dice: Dice) -> np.ndarray:
    """(12, 3) of a cube, or with faces twice, with corners twice, or any."""
    _, faces = tsr.primitives.cube()
    kind = dice.choice(("cube", "cube", "twice", "both sides", "corners twice", "fan", "any"))
    dice.words.append(kind)
    if kind == "twice":
        faces[6:] = np.roll(faces[:6], 1, axis=1)
    elif kind == "both sides":
        faces[6:] = faces[:6, ::-1]
    elif kind == "corners twice":
        faces[::3, 2] = faces[::3, 0]
    elif kind == "fan":  # all at one edge
        faces = np.stack([[0, 1, 2 + k % 6] for k in range(len(faces))])
    elif kind == "any":
        faces = dice.generator.integers(NUM_VERTICES, size=faces.shape)
    return faces


def look_at(dice: Dice, projection) -> tsr.Camera:
    """From anywhere, also from within, along `up`, and from next to the target."""
    eye = dice.scale(1e-2, 1e3) * dice.generator.normal(size=(NUM_VIEWS, 3))
    if dice.chance(0.6):
        eye *= 3.0 / np.linalg.norm(eye, axis=1, keepdims=True)
    target, up = np.zeros((NUM_VIEWS, 3)), np.zeros((NUM_VIEWS, 3)) + (0.0, 1.0, 0.0)
    if dice.chance(0.2):
        up = dice.scale(1e-6, 1e6) * dice.generator.normal(size=3)
    if dice.chance(0.1):
        up = eye
    if dice.chance(0.1):
        target = eye + dice.scale(1e-9, 1e-1) * dice.generator.normal(size=3)
        dice.may_refuse = True  # the difference may vanish in single precision
    return tsr.Camera.look_at(eye, target, up, projection)


def perspective(dice: Dice) -> tsr.Perspective:
    """Of any angle."""
    if dice.chance(0.5):
        return tsr.Perspective(50.0)
    return tsr.Perspective(dice.choice((dice.number(1e-3, 179.0), 180.0 - dice.scale(1e-4, 10.0))))


def matrices(dice: Dice, with_angle: bool) -> tsr.Camera:
    """Rotations, mirrored, scaled or of no inverse; and intrinsics of any kind."""
    view = np.tile(np.eye(4), (NUM_VIEWS, 1, 1))
    view[:, 2, 3] = -dice.choice((3.0, dice.scale(1e-2, 1e3)))
    view[:, :3, :3] += dice.choice((0.0, 0.3)) * dice.generator.normal(size=(NUM_VIEWS, 3, 3))
    if dice.chance(0.3):
        axis = dice.generator.integers(3)
        view[:, axis, :3] *= dice.choice((-1.0, 0.0, 1e-6, 1e6))
    view = dice.poison(view, "view_from_world")
    if with_angle:
        return tsr.Camera.from_matrices(view, projection=perspective(dice))
    clip = np.diag([*dice.generator.uniform(0.5, 3.0, 2), -1.0, 0.0])
    clip[:2, 2] = dice.choice((0.0, 0.5)) * dice.generator.normal(size=2)
    clip[3] = dice.choice(((0, 0, -1, 0), (0, 0, 0, 1), (0.1, 0, -1, 0), (0, 0, 0, 0)))
    return tsr.Camera.from_matrices(view, dice.poison(clip, "clip_from_view"))


CAMERA_MAKERS = {
    "perspective": lambda dice: look_at(dice, perspective(dice)),
    "parallel": lambda dice: look_at(dice, tsr.Orthographic(dice.number(1e-4, 1e4))),
    "matrices": lambda dice: matrices(dice, with_angle=False),
    "matrix and angle": lambda dice: matrices(dice, with_angle=True),
}


def make_lights(dice: Dice, kind: str) -> tuple:
    """Lights, and (2, 3) the least and the largest of them on any surface."""
    if kind == "harmonics":
        coefficients = dice.colors(9, 3)
        most = LARGEST_HARMONIC * np.abs(coefficients).sum(axis=0)
        return tsr.SphericalHarmonics(coefficients), np.stack([-most, most])
    count = 1 if kind == "one light" else 3
    ambient, colors = dice.colors(3), dice.colors(count, 3)
    directions = dice.scale(1e-6, 1e6) * dice.generator.normal(size=(count, 3))
    least, most = np.minimum(colors, 0).sum(axis=0), np.maximum(colors, 0).sum(axis=0)
    with np.errstate(invalid="ignore"):  # of colours that are refused
        bounds = np.stack([ambient + least, ambient + most])
    return tsr.Lights(ambient, directions, colors), bounds
