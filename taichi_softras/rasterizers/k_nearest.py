"""K nearest: the K nearest faces of each pixel are blended.

N. Ravi, J. Reizenstein, D. Novotny, T. Gordon, W.-Y. Lo, J. Johnson, G. Gkioxari, "Accelerating
3D Deep Learning with PyTorch3D", 2020. The constants are those of PyTorch3D's code. The gradient
is the derivative of the image that is drawn, for the faces that were chosen.
"""

import dataclasses
import math
import warnings
import weakref
from typing import Any, ClassVar, NamedTuple, Optional, Union

import numpy as np

from taichi_softras.funcs.aggregation import ALPHAS, ANY, FIRST, FLOORED_SOFTMAX
from taichi_softras.funcs.coverage import DISTANCES
from taichi_softras.funcs.interpolation import AFFINE, CLIP_BELOW, PERSPECTIVE, UNCLIPPED
from taichi_softras.rasterizers.base import (
    check_color,
    check_depth_range,
    check_held,
    check_range,
    choose,
)
from taichi_softras.rasterizers.binning import TILE, Bins, TileArrays
from taichi_softras.rasterizers.clipping import draw_clipped
from taichi_softras.rasterizers.fragments import (
    SILHOUETTE,
    Shader,
    Surface,
    cut_shader,
    no_surface,
)
from taichi_softras.rasterizers.k_nearest_kernels import (
    count_truncated,
    find_limits,
    store_fragments,
)
from taichi_softras.rasterizers.soft_aggregation import (
    SIGMA_PIXELS,
    SoftRasterization,
    SoftRasterizer,
    numbers_of,
)
from taichi_softras.rasterizers.soft_fragments import Numbers, Structure
from taichi_softras.runtime import default_numpy_float, is_cpu, lean_compilation, ti
from taichi_softras.workspace import MOST_ENTRIES, Workspace, memory_bytes, read_array

BLENDS = {  # alpha and colour
    "softmax": (ALPHAS["product"], FLOORED_SOFTMAX),
    "sigmoid_alpha": (ALPHAS["product"], FIRST),
    "hard": (ANY, FIRST),
}
BACKGROUND_DEPTH = 1e-10  # of the background in the softmax, in normalised inverse depth
DEFAULT_CUTOFF = 1e-4  # the coverage at which the default blur radius ends a face
COPIES_ON_CPU, COPIES_ON_GPU = 2, 3  # of an array: the kernel's, NumPy's; on its way as well
NOTABLE_CHANGE = 1e-3  # of a silhouette, by faces that are left out


class Fragments(NamedTuple):
    """The K nearest faces of each pixel, by depth; entries without a face are -1.

    Attributes:
        pix_to_face: (B, H, W, K) int32 face indices, NO_FACE = -1.
        zbuf: (B, H, W, K) depths.
        barycentrics: (B, H, W, K, 3) weights of the corners.
        distances: (B, H, W, K) squared distances to the outline in NDC, negative inside.
    """

    pix_to_face: np.ndarray
    zbuf: np.ndarray
    barycentrics: np.ndarray
    distances: np.ndarray


@dataclasses.dataclass(frozen=True)
class KNearest(SoftRasterizer):
    """PyTorch3D's rasterizer and its three ways to blend (Ravi et al., 2020).

    `ravi2020` has its numbers.

    Coverage of pixel i by face j is D_ij = sigmoid(delta_ij d_ij^2 / sigma); a face covers the
    pixels inside of it and those nearer than the blur radius. Of these faces a pixel keeps the
    `faces_per_pixel` nearest, the one with the lower index on a tie.

    The softmax weighs faces by D_ij exp((z_ij - z_max) / gamma), where z is the normalised
    inverse depth (far - depth) / (far - near) and z_max that of the nearest face, and the
    background by max(exp((1e-10 - z_max) / gamma), 1e-10).

    As in `SoftAggregation` any face outweighs the background with PyTorch3D's gamma, near and far:
    a loss of RGB has the gradient 0 at silhouettes, and what moves outlines is alpha. The
    background's z is 0, that of `far`: near=1, far=5 and gamma=0.1 give RGB a gradient, too.

    Memory does not grow with `faces_per_pixel`: a first pass finds the depth of the last face
    that a pixel keeps.

    Args:
        faces_per_pixel: K, at least 1.
        sigma: softness of edges, NDC squared (the shorter image side spans 2); in place of
            `sigma_pixels`.
        gamma: softness of depth, in normalised inverse depth.
        blur_radius: how far a face covers pixels beyond its edges, NDC SQUARED as in PyTorch3D;
            left out, where coverage falls to 1e-4.
        blend: "softmax"; "sigmoid_alpha", the colour of the nearest face and the alpha of the
            softmax, 1 - prod_j (1 - D_ij); "hard", the colour of the nearest face and alpha 1
            wherever there is one.
        near: depth where z is 1; nothing is cut off there. Left out, fitted to the scene.
        far: depth where z is 0; nothing is cut off there, but in the softmax the background
            outweighs what is behind it. Left out, fitted to the scene.
        background: colour of the background, one number or one for each channel.
        perspective_correct: interpolate depths and colours on the face; otherwise both are
            linear on the image, which is right for orthographic cameras.
        clip_barycentric_coords: a pixel outside of a face looks at a point on the face, not on
            its continuation.
        cull_backfaces: leave out faces that are clockwise on the image.
        sigma_pixels: sqrt(sigma) in pixels, 1/3 unless `sigma` is given.

    Raises:
        ValueError: for a number out of its range or an unknown name, for both `sigma` and
            `sigma_pixels`; when drawing, for a number that the runtime's precision cannot hold.
    """

    has_jacobian: ClassVar[bool] = True

    faces_per_pixel: int = 50
    sigma: Optional[float] = None
    gamma: float = 1e-4
    blur_radius: Optional[float] = None
    blend: str = "softmax"
    near: Optional[float] = None
    far: Optional[float] = None
    background: Union[float, tuple] = (1.0, 1.0, 1.0)
    perspective_correct: bool = True
    clip_barycentric_coords: bool = True
    cull_backfaces: bool = False
    sigma_pixels: Optional[float] = SIGMA_PIXELS

    def __post_init__(self):
        check_faces_per_pixel(self.faces_per_pixel)
        choose("blend", self.blend, BLENDS)
        self.check_sigma()
        check_range("gamma", self.gamma, above=0.0)
        if self.blur_radius is not None and not 0.0 <= self.blur_radius < math.inf:
            raise ValueError(
                f"blur_radius (NDC squared) must be 0 or above, got {self.blur_radius!r}"
            )
        check_depth_range(self.near, self.far)
        check_color("background", self.background)

    def drawn_depths(self, has_color: bool) -> tuple:
        """See `Rasterizer.drawn_depths`."""
        is_soft = has_color and BLENDS[self.blend][1].is_soft
        return -math.inf, self.far if is_soft else math.inf

    @property
    def draws_both_sides(self) -> bool:
        """See `Rasterizer.draws_both_sides`."""
        return not self.cull_backfaces

    @classmethod
    def ravi2020(cls, **changes: Any) -> "KNearest":
        """The numbers of PyTorch3D and its tutorials, whatever the defaults are.

        sigma is 1e-4 NDC squared, and a face ends where its coverage falls to 1e-4.

        Args:
            changes: arguments that are to be others.
        """
        numbers = {
            "faces_per_pixel": 50,
            "sigma": None if "sigma_pixels" in changes else 1e-4,
            "gamma": 1e-4,
            "blur_radius": None,
            "blend": "softmax",
            "near": 1.0,
            "far": 100.0,
            "background": (1.0, 1.0, 1.0),
            "perspective_correct": True,
            "clip_barycentric_coords": True,
            "cull_backfaces": False,
        }
        return cls(**{**numbers, **changes})

    def reach(self, image_size: tuple) -> float:
        """Where coverage is cut off, NDC squared."""
        if self.blur_radius is not None:
            return self.blur_radius
        return DISTANCES["euclidean"].reach(self.sigma_ndc(image_size), DEFAULT_CUTOFF)

    def structure(self, shader: Shader) -> Structure:
        """The functions behind the names."""
        alpha, color = BLENDS[self.blend]
        return Structure(
            shader=shader,
            distance=DISTANCES["euclidean"],
            alpha=alpha,
            color=color if shader.num_channels else None,
            clipping=CLIP_BELOW if self.clip_barycentric_coords else UNCLIPPED,
            interpolation=PERSPECTIVE if self.perspective_correct else AFFINE,
            is_limited=True,
            is_double_sided=not self.cull_backfaces,
        )

    def numbers(self, image_size: tuple) -> Numbers:
        """What the kernels take as arguments."""
        check_held({}, {"blur_radius": self.blur_radius or 0.0})
        sigma, reach = self.sigma_ndc(image_size), self.reach(image_size)
        is_soft = BLENDS[self.blend][1].is_soft
        return numbers_of(self, sigma, reach, BACKGROUND_DEPTH, is_soft)

    def bin_faces(self, workspace: Workspace, corners: ti.Ndarray, image_size: tuple) -> Bins:
        """The faces of each tile, see `Rasterizer.bin_faces`."""
        return Bins(workspace, corners, image_size, self.reach(image_size) ** 0.5)

    def forward(
        self,
        workspace: Workspace,
        corners: ti.Ndarray,
        shader: Shader,
        surface: Surface,
        image_size: tuple,
    ) -> "KNearestRasterization":
        """Draws; see `Rasterizer.forward`."""
        rasterization = KNearestRasterization(self, workspace, corners, shader, surface, image_size)
        rasterization.draw()
        return rasterization

    def fragments(
        self,
        workspace: Workspace,
        corners: ti.Ndarray,
        image_size: tuple,
        faces_per_pixel: Optional[int] = None,
    ) -> Fragments:
        """The nearest faces of each pixel.

        Args:
            workspace: keeps the arrays; what was drawn with it is lost.
            corners: as for `forward`.
            image_size: (H, W) in pixels.
            faces_per_pixel: K; that of the rasterizer when left out.
        """
        num_faces = self.faces_per_pixel if faces_per_pixel is None else faces_per_pixel
        check_faces_per_pixel(num_faces)
        surface = no_surface(workspace)

        def find(corners: ti.Ndarray, shader: Shader, surface: Surface) -> Fragments:
            inputs = (workspace, corners, shader, surface, image_size)
            return KNearestRasterization(self, *inputs).fragments(num_faces)

        return draw_clipped(workspace, corners, SILHOUETTE, surface, image_size, find)[0]


def check_faces_per_pixel(faces_per_pixel: int) -> None:
    """Raises a ValueError unless it is a whole number of at least 1."""
    if not (isinstance(faces_per_pixel, (int, np.integer)) and faces_per_pixel >= 1):
        raise ValueError(
            f"faces_per_pixel must be an integer of at least 1, got {faces_per_pixel!r}"
        )


def check_fragments(scene: str, shape: tuple) -> None:
    """Checks that there is room for (B, H, W, K) fragments.

    Raises:
        ValueError: for more entries than kernels can count.
        MemoryError: for more bytes than are free.
    """
    size = math.prod(shape) * (4 + 5 * np.dtype(default_numpy_float()).itemsize)
    sentence = (
        f"faces_per_pixel = {shape[-1]:,} fragments at each pixel of {scene} take {size:,} bytes: "
        "lower faces_per_pixel, the image's size or the number of views"
    )
    if 3 * math.prod(shape) > MOST_ENTRIES:
        raise ValueError(sentence)
    if size * (COPIES_ON_CPU if is_cpu() else COPIES_ON_GPU) > memory_bytes():
        raise MemoryError(sentence)


class KNearestRasterization(SoftRasterization):
    """One image: that of soft aggregation, from the nearest faces alone."""

    draws = weakref.WeakKeyDictionary()  # of each workspace, until it warned; None then

    def __init__(self, method: KNearest, workspace: Workspace, *inputs):
        super().__init__(method, workspace, *inputs)
        self.faces_per_pixel = method.faces_per_pixel
        self.is_exact = method.faces_per_pixel == 1 and method.blur_radius == 0.0
        # which faces are near, any shader shares
        self.colorless = method.structure(
            cut_shader(SILHOUETTE) if self.shader.is_cut else SILHOUETTE
        )

    def draw(self) -> None:
        """Finds the faces, then fills `image`, and the state that `backward` reads."""
        super().draw()
        self.warn_of_truncation()

    def draw_band(self, of_tiles: TileArrays) -> None:
        """Draws the tiles of a band."""
        with lean_compilation():
            find_limits(
                *self.bins.of_faces,
                *of_tiles,
                self.numbers,
                self.sizes,
                min(self.faces_per_pixel, self.corners_shape[1]),
                self.planes.state,
                self.planes.faces,
                TILE if is_cpu() else 1,
                self.colorless,
            )
        super().draw_band(of_tiles)

    def warn_of_truncation(self) -> None:
        """Warns once, if faces that are left out change the silhouette.

        Looks at the first image of a workspace, the second, fourth, eighth and so on: what is read
        back waits for the device, and a loop that draws should not wait a second time.
        """
        draws = self.draws.get(self.workspace, 0)
        if draws is None or self.is_exact:
            return
        self.draws[self.workspace] = draws + 1
        if draws & (draws + 1):  # is not 0, 1, 3, 7...
            return
        count = self.workspace.get("truncated_pixels", (1,), int)
        count_truncated(self.planes.state, self.image_size[1], NOTABLE_CHANGE, count)
        if count[0]:
            self.draws[self.workspace] = None
            share = count[0] / (self.corners_shape[0] * self.image_size[0] * self.image_size[1])
            warnings.warn(
                f"faces_per_pixel = {self.faces_per_pixel} changes the silhouette by more than "
                f"{NOTABLE_CHANGE:g} at {share:.2%} of the pixels: more faces than that are in "
                "reach; raise faces_per_pixel, or lower sigma or blur_radius",
                stacklevel=2,
            )

    def fragments(self, faces_per_pixel: int) -> Fragments:
        """The nearest faces of each pixel."""
        shape = (self.corners_shape[0], *self.image_size, faces_per_pixel)
        check_fragments(self.workspace.scene, shape)
        # not NumPy's: a device that copies those gives them back whole, also what it did not fill
        faces = self.workspace.new("pix_to_face", shape, int)
        depths = self.workspace.new("zbuf", shape)
        barycentrics = self.workspace.new("barycentrics", (*shape, 3))
        distances = self.workspace.new("distances", shape)
        ranked = Structure(**{**vars(self.colorless), "color": FIRST})  # equal depths by index
        for of_tiles in self.bins.bands():
            store_fragments(
                *self.bins.of_faces,
                *of_tiles,
                self.numbers,
                self.sizes,
                faces,
                depths,
                barycentrics,
                distances,
                ranked,
            )
        return Fragments(*map(read_array, (faces, depths, barycentrics, distances)))
