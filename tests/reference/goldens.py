"""Images and gradients of the original SoftRas: a case's name comes in, a `SoftRasGolden` goes out.

The files are in tests/goldens, without the original's arrays that no test reads. The largest,
"spot", lies beside the repository, in ../shared/goldens; tests that ask for it are skipped where
it is absent.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).resolve().parents[1]
FOLDERS = [TESTS / "goldens", TESTS.parents[1] / "shared" / "goldens"]

SOFTRAS_CASES = [
    "batch2_aa_euclid_hard_prod_clip",
    "ico3_bary_hard_sum_surface2",
    "ico3_euclid_softmax_prod",
    "ico3_hard_hard_hard_surface1",
    "spot_euclid_softmax_prod_surface1",
    "tri2_bary_softmax_sum_culled",
    "tri2_euclid_softmax_prod_surface5",
    "tri2_hard_softmax_hard",
    "tri_euclid_softmax_prod",
]


@dataclasses.dataclass(frozen=True)
class SoftRasGolden:
    """One case: B views, F faces, S x S output pixels, alpha last, row 0 on top.

    The front of a SoftRas face is clockwise on the image, ours is counter-clockwise: cases that
    draw fronts alone are mirrored, x to -x.
    """

    name: str
    corners: np.ndarray  # (B, F, 3, 3) x and y in NDC, depth
    colors: np.ndarray  # (B, F, 3, 3) a corner, or (B, F, R, R, 3) texels
    image_size: tuple  # (2S, 2S) with anti_aliasing, otherwise (S, S)
    anti_aliasing: bool
    parameters: dict  # keyword arguments of the twin, rounded as the original rounds them
    image: np.ndarray  # (B, S, S, 4) of the double build, texel index clamped; spot: float32
    weights: np.ndarray  # (B, S, S, 4): loss = sum(weights * image)
    grad_colors: np.ndarray  # like colors; exact in the original, texel index clamped
    grad_corners: np.ndarray  # like corners, the true derivative; None for spot
    grad_corners_softras: np.ndarray  # what the original returns: terms are missing
    unstable: np.ndarray  # (B, S, S) pixels that rounding decides in the original
    overrun: np.ndarray  # (B, S, S) pixels where the original reads foreign memory
    bleed: np.ndarray  # (B, S, S) pixels where the original takes the next face's texel

    @property
    def trusted(self):
        """(B, S, S) pixels on which the original is defined; the weights are 0 elsewhere."""
        return ~(self.unstable | self.overrun)

    def downsampled(self, image):
        """(B, S, S, C) of a (B, H, W, C) render: the 2 x 2 mean if the case is anti-aliased."""
        if not self.anti_aliasing:
            return image
        num_views, height, width, num_channels = image.shape
        blocks = image.reshape(num_views, height // 2, 2, width // 2, 2, num_channels)
        return blocks.mean(axis=(2, 4))


def load_softras(name):
    """Reads a case of `SOFTRAS_CASES`; skips the test where the files are absent."""
    paths = [folder / f"softras_{name}.npz" for folder in FOLDERS]
    path = next(filter(Path.exists, paths), None)
    if path is None:
        pytest.skip(f"the reference data of the original renderers is not here: {paths[0].name}")
    with np.load(path) as archive:
        data = dict(archive)
    meta = json.loads(str(data["meta"]))

    def like_colors(textures):
        if meta["texture_type"] == "vertex":
            return textures
        resolution = meta["texture_res"]  # texel b * R + a
        return textures.reshape(*textures.shape[:2], resolution, resolution, -1)

    # Where texels bleed, the file's "true" texture gradient is that of the bleeding image.
    fixed = "_fixed64" if "image_fixed64" in data else "64"
    golden = SoftRasGolden(
        name=name,
        corners=data["face_vertices"].astype(float),
        colors=like_colors(data["textures"]).astype(float),
        image_size=(meta["image_size"], meta["image_size"]),
        anti_aliasing=meta["anti_aliasing"],
        parameters=twin_parameters(meta),
        image=np.moveaxis(data["image" + fixed], 1, -1),
        weights=np.moveaxis(data["W"], 1, -1).astype(float),
        grad_colors=like_colors(data["grad_textures" + fixed]),
        grad_corners=data.get("grad_face_vertices_true64"),
        grad_corners_softras=data["grad_face_vertices" + fixed],
        unstable=data["unstable_mask"],
        overrun=data["overrun_mask"],
        bleed=data["bleed_mask"],
    )
    return golden if meta["fill_back"] else mirrored(golden)


def mirrored(golden):
    """The case seen in a mirror: x of corners and of their gradients, columns of images."""
    across = np.array([-1, 1, 1])
    turned = {
        key: across * getattr(golden, key)
        for key in ("corners", "grad_corners", "grad_corners_softras")
    }
    for key in ("image", "weights", "unstable", "overrun", "bleed"):
        turned[key] = getattr(golden, key)[:, :, ::-1]
    return dataclasses.replace(golden, **turned)


def twin_parameters(meta):
    """Keyword arguments of the twin; SoftRas keeps its scalars in float32 in either build."""
    sigma, gamma, near, far, eps = (
        np.float32(meta[key]) for key in ("sigma_val", "gamma_val", "near", "far", "eps")
    )
    threshold = np.float32(np.log(1 / meta["dist_eps"] - 1)) * sigma
    # The background starts with the weight exp(eps / gamma) relative to the depth eps.
    background_weight = np.exp(eps / gamma)
    return {
        "sigma": float(sigma),
        "gamma": float(gamma),
        "distance": meta["dist_func"],
        "color": meta["aggr_func_rgb"],
        "alpha": {"prod": "product"}.get(meta["aggr_func_alpha"], meta["aggr_func_alpha"]),
        "coverage_cutoff": float(1 / (1 + np.exp(float(threshold) / float(sigma)))),
        "near": float(near),
        "far": float(far),
        "background": tuple(meta["background_color"]),
        "background_depth": float(eps) + float(gamma) * float(np.log(float(background_weight))),
        "double_sided": meta["fill_back"],
        "perspective_correct": False,
    }
