"""Hostile scenes through `rasterize`: projected corners and colours."""

import dataclasses
from typing import NamedTuple, Optional, Union

import numpy as np

import taichi_softras as tsr
from taichi_softras.rasterizers.soft_fragments import SAME_DEPTH
from tests.hostile.checks import Findings, Refused
from tests.hostile.dice import Dice
from tests.hostile.methods import Choices, choices_of, make_rasterizer
from tests.hostile.triangles import Frame, make_triangles
from tests.tolerances import ROUNDINGS_OF_A_SCENE

LOOKS = ("corners", "texels", "cubes", "depth", "nothing", "one channel")
SIZES = ((1, 1), (1, 7), (5, 1), (8, 8), (9, 16), (16, 12), (33, 47), (64, 64)) + (
    (1, 4096),
    (4096, 1),
    (2, 700),
    (1025, 3),
)


class Structure(NamedTuple):
    """What is compiled: the method's choices, and what faces look like."""

    choices: Choices
    look: str

    @property
    def channels(self) -> int:
        """Of colours."""
        return {"depth": 0, "nothing": 0, "one channel": 1}.get(self.look, 3)

    def check(self, seed: int, is_deterministic: bool) -> tuple:
        """(a description, the failures) of one scene."""
        dice = Dice(seed)
        findings = Findings(dice, f"{self.choices.method.__name__} {self.look}")
        scene = None
        try:
            with findings.refusals():
                scene = make_scene(dice, self)
            check_scene(findings, scene, is_deterministic)
        except Refused:
            pass
        return f"{scene or self}, {' '.join(dice.words)}", findings.failures


STRUCTURES = [Structure(choices, LOOKS[look]) for look, choices in choices_of(len(LOOKS))]


class Scene(NamedTuple):
    """What `rasterize` takes."""

    corners: np.ndarray
    colors: Union[np.ndarray, tsr.Depth, None]
    image_size: tuple
    rasterizer: tsr.SoftAggregation

    def __str__(self) -> str:
        of_colors = getattr(self.colors, "shape", self.colors)
        shapes = f"corners {self.corners.shape}, colors {of_colors}, {self.image_size}"
        return f"{self.rasterizer}, {shapes}"

    def draw(self) -> tuple:
        """The image and its vjp."""
        corners, colors, image_size, rasterizer = self
        return tsr.rasterize(corners, colors, image_size=image_size, rasterizer=rasterizer)

    def reorder(self, order: np.ndarray) -> "Scene":
        """With the faces in another order."""
        is_array = isinstance(self.colors, np.ndarray)
        colors = self.colors[:, order] if is_array else self.colors
        return self._replace(corners=self.corners[:, order], colors=colors)

    def bounds(self) -> tuple:
        """(C,) the least and the largest colour that an image may show."""
        if self.colors is None:
            return np.zeros(0), np.zeros(0)
        if getattr(self.rasterizer, "clip_barycentric_coords", True) is False:
            channels = 1 if isinstance(self.colors, tsr.Depth) else self.colors.shape[-1]
            return np.full(channels, -np.inf), np.full(channels, np.inf)  # continues beyond edges
        if isinstance(self.colors, tsr.Depth):
            shown, background = self.corners[..., 2].reshape(-1, 1), [self.rasterizer.far]
        else:
            shown = self.colors.reshape(-1, self.colors.shape[-1])
            background = self.rasterizer.background
        values = np.concatenate([shown, [background]])
        return values.min(axis=0), values.max(axis=0)


def make_scene(dice: Dice, structure: Structure) -> Scene:
    """A scene by the dice.

    Raises:
        ValueError: for numbers of the rasterizer that are refused.
    """
    rasterizer = make_rasterizer(dice, structure.choices, structure.channels)
    frame = Frame(dice.choice(SIZES), rasterizer.near, rasterizer.far)
    faces = make_triangles(dice, frame)
    views = dice.choice((1, 1, 2))
    moves = dice.scale(1e-7, 1.0) * dice.generator.normal(size=(views, 1, 1, 3))
    corners = faces + moves * (1.0, 1.0, 0.0)
    if dice.chance(0.4):
        corners = unproject(dice, corners)
    corners = dice.poison(corners, "corners")
    return Scene(corners, make_colors(dice, structure, *corners.shape[:2]), frame[0], rasterizer)


def unproject(dice: Dice, corners: np.ndarray) -> np.ndarray:
    """(.., 4) x_clip, y_clip, depth, w_clip: in perspective, parallel, or with any w."""
    kind = dice.choice(("perspective", "parallel", "any w"))
    dice.words.append(kind)
    w = {
        "perspective": corners[..., 2:],
        "parallel": np.ones_like(corners[..., 2:]),
        "any w": 10.0 ** dice.generator.uniform(-3, 3, (*corners.shape[:-1], 1)),
    }[kind]
    if kind == "any w" and dice.chance(0.2):
        w *= dice.generator.choice((-1.0, 0.0, 1e-9, 1e9), w.shape)
    with np.errstate(over="ignore"):
        return np.concatenate([corners[..., :2] * w, corners[..., 2:], w], axis=-1)


def make_colors(
    dice: Dice, structure: Structure, views: int, num_faces: int
) -> Union[np.ndarray, tsr.Depth, None]:
    """What faces look like."""
    if structure.look == "depth":
        return tsr.Depth()
    if structure.look == "nothing":
        return None
    resolution = dice.choice((2, 3, 5))
    entries = {"texels": (resolution,) * 2, "cubes": (resolution,) * 3}.get(structure.look, (3,))
    shared = dice.choice((1, views))
    return dice.colors(shared, num_faces, *entries, structure.channels)


def check_scene(findings: Findings, scene: Scene, is_deterministic: bool) -> None:
    """All that holds of every scene."""
    dice = findings.dice
    with findings.refusals():
        image, vjp = scene.draw()
        weights = dice.generator.normal(size=image.shape).astype(image.dtype)
        gradients = vjp(weights)
    findings.check_image(image, *scene.bounds())
    if dice.must_refuse:
        return
    named = [("image", image), *zip(("gradient of corners", "gradient of colours"), gradients)]
    named = [(name, values) for name, values in named if values is not None]
    for name, values in named[1:]:
        findings.check_finite(name, values)
    if is_deterministic:
        with findings.refusals():
            again, vjp_again = scene.draw()
            repeated = [again, *vjp_again(weights)]
        for (name, values), other in zip(named, repeated):
            findings.check_same_bits(name, values, other)
    check_order(findings, scene, image)


def check_order(findings: Findings, scene: Scene, image: np.ndarray) -> None:
    """Other orders of the faces are the same image, but where two faces have the same depth."""
    order = findings.dice.generator.permutation(scene.corners.shape[1])
    with findings.refusals():
        reordered, _ = scene.reorder(order).draw()
    if not (np.isfinite(image).all() and np.isfinite(reordered).all()):
        return  # told already
    hull = np.abs(scene.bounds()).max(axis=0)  # infinity where it is not known
    known = np.append(np.where(np.isfinite(hull), hull, 0.0), 1.0)
    largest = np.maximum(np.abs(image).max(axis=(0, 1, 2)), known)
    rounding = ROUNDINGS_OF_A_SCENE * np.finfo(image.dtype).eps
    changes = np.abs(reordered - image) - rounding * largest
    is_changed = (changes > 0.0).any(axis=-1)
    if is_changed.any():
        with findings.refusals():
            ties = find_ties(scene)
        if ties is not None:
            is_changed &= ~ties
        if is_changed.any():
            where = tuple(map(int, np.argwhere(is_changed)[0]))
            message = f"{np.count_nonzero(is_changed)} pixels; {image[where]} at {where} becomes "
            findings.add("order of faces", f"{message}{reordered[where]}")


def find_ties(scene: Scene) -> Optional[np.ndarray]:
    """(B, H, W), where two faces have the same depth, so that the smaller index decides.

    Of a softmax over all faces no order decides: None.
    """
    method, num_faces = scene.rasterizer, scene.corners.shape[1]
    if isinstance(method, tsr.SoftAggregation) and method.color == "softmax":
        return None
    if isinstance(method, tsr.KNearest):
        found = tsr.fragments(
            scene.corners,
            image_size=scene.image_size,
            rasterizer=dataclasses.replace(method, faces_per_pixel=num_faces),
        )
        depths = np.where(found.pix_to_face < 0, np.inf, found.zbuf)
        return have_ties(depths)
    is_blended = isinstance(method, (tsr.Prefiltered, tsr.Antialiased))
    of_pixel = not (getattr(method, "overdraw", False) or is_blended)
    if is_blended:
        numbers = {name: getattr(method, name) for name in ("near", "far", "double_sided")}
        method = tsr.FilteredDerivative(**numbers, background=method.background, overdraw=False)
    factor = 2 if getattr(method, "anti_aliasing", False) else 1
    if factor == 2:
        method = dataclasses.replace(method, anti_aliasing=False)
    height, width = (factor * extent for extent in scene.image_size)
    depths = []
    for view in scene.corners:  # each face alone
        alone = Scene(view[:, None], tsr.Depth(), (height, width), method)
        image, _ = alone.draw()
        black = dataclasses.replace(method, background=0.0)
        white = Scene(view[:, None], np.ones((1, 1, 3, 1)), (height, width), black)
        depths.append(np.where(white.draw()[0][..., 0] > 0.0, image[..., 0], np.inf))
    ties = have_ties(np.moveaxis(depths, 1, -1))
    if not of_pixel:  # which faces are seen at all decides about their lines, and which is larger
        points = scene.corners[..., :2]
        if scene.corners.shape[-1] == 4:
            points = points / scene.corners[..., 3:]
        sides = points[..., 1:, :] - points[..., :1, :]
        have_equal_areas = have_ties(np.abs(np.linalg.det(sides.astype(np.float64))))
        are_tied = ties.any(axis=(1, 2)) | have_equal_areas
        return np.broadcast_to(are_tied[:, None, None], ties.shape)
    return ties.reshape(len(ties), *scene.image_size[:1], factor, -1, factor).any(axis=(2, 4))


def have_ties(depths: np.ndarray) -> np.ndarray:
    """Whether two of the depths along the last axis are equal, up to rounding."""
    ordered = np.sort(depths, axis=-1)
    first, second = ordered[..., :-1], ordered[..., 1:]
    with np.errstate(invalid="ignore"):
        is_same = second - first <= 2.0 * SAME_DEPTH * np.abs(first)
    return (is_same & np.isfinite(second)).any(axis=-1)
