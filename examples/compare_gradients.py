"""One edge, six gradients: what each method answers when a triangle should move."""

import warnings

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

SIZE, SQUARE = 40, (-1, 1, -1, 1)  # pixels, NDC
BLUE = np.array([[-0.66, -0.58, 2.0], [0.41, -0.44, 2.0], [-0.19, 0.67, 2.0]])  # NDC, depth
AMBER = np.array([[-0.03, -0.83, 2.25], [0.86, -0.28, 2.25], [0.29, 0.79, 2.25]])
COLORS = np.array([[[[0.16, 0.3, 0.45]] * 3, [[1.0, 0.75, 0.35]] * 3]])
SOFT = {"sigma": (3.0 / SIZE) ** 2, "gamma": 0.1, "near": 1.0, "far": 2.4, "background": 1.0}
SHARP = tsr.SoftAggregation(sigma_pixels=0.5)  # at 32 x SIZE: the true direction
HARD = tsr.SoftAggregation(distance="hard", color="hard", alpha="hard", background=1.0)
CUT = tsr.KNearest(faces_per_pixel=1, blur_radius=3.0 * SOFT["sigma"], **SOFT)
METHODS = (
    ("Z-buffer", HARD, "0: a pixel jumps,\nor stays"),
    ("OpenDR", tsr.FilteredDerivative(background=1.0), "the image's slope,\non the face's pixels"),
    ("NMR", tsr.ApproximateGradient(background=1.0), "1 / distance,\nalong the whole row"),
    ("Soft Rasterizer", tsr.SoftAggregation(**SOFT), "exact, of a blurred\nimage: a wide band"),
    ("PyTorch3D", CUT, "the same, cut at\nblur radius and K = 1"),
    ("Antialiased", tsr.Antialiased(background=1.0), "exact, of an image\nblended at edges"),
    ("Prefiltered", tsr.Prefiltered(1.0, background=1.0), "exact, of an image\naveraged at edges"),
)
ROWS = "image", "moving right:\nred brighter, blue darker", "downhill to grey\n(black: true)"


def pixel_derivatives(method):  # image, and d brightness / d x of the blue triangle in pixels
    views = np.broadcast_to([BLUE, AMBER], (SIZE**2, 2, 3, 3))  # one for each pixel
    image, vjp = tsr.rasterize(views, COLORS, image_size=(SIZE, SIZE), rasterizer=method)
    weights = np.eye(SIZE**2).reshape(*image.shape[:3], 1) * (1 / 3, 1 / 3, 1 / 3, 0)
    plus, minus = (vjp(sign * weights)[0][:, 0, :, 0].sum(axis=1) for sign in (1, -1))
    derivatives = np.where(plus != 0, plus, -minus)  # NMR answers to one sign only
    return image[0], derivatives.reshape(SIZE, SIZE) * 2 / SIZE


def corner_direction(method, move, size=(SIZE, SIZE)):
    """(3, 2) gradient of the squared error against the moved triangle, its length made 1."""
    alpha, vjp = tsr.rasterize([[BLUE + move], [BLUE]], image_size=size, rasterizer=method)
    gradient = vjp(alpha - alpha[0])[0][1, 0, :, :2]
    return gradient / max(np.linalg.norm(gradient), 1e-12)


def main(steps=10, output="out/compare_gradients"):
    output, result = tsr.scripts.folder(output), {"steps": steps}
    warnings.filterwarnings("ignore", "faces_per_pixel = 1 ")  # is what PyTorch3D's column shows
    turns = np.linspace(0, 2 * np.pi, steps + 1)[:-1] + 0.57  # moves all around; drawn: the first
    moves = 0.26 * np.stack([np.cos(turns), np.sin(turns), 0 * turns], axis=-1)
    truths = np.array([corner_direction(SHARP, move, (32 * SIZE,) * 2) for move in moves])
    figure, axes = plt.subplots(3, len(METHODS), figsize=(14, 6.8), layout="constrained")
    for column, (name, method, answer) in zip(axes.T, METHODS):
        image, derivatives = pixel_derivatives(method)
        directions = np.array([corner_direction(method, move) for move in moves])
        cosines = (directions * truths).sum(axis=(1, 2))
        result[f"{name}: pixels a row"] = int((abs(derivatives) > 1e-3).sum(axis=1).max())
        result[f"{name}: cosine"] = round(float(cosines.mean()), 3)
        column[0].imshow(image[..., :3].clip(0, 1), extent=SQUARE)
        column[1].imshow(np.cbrt(derivatives), "RdBu_r", vmin=-0.9, vmax=0.9, extent=SQUARE)
        column[2].fill(*(BLUE + moves[0]).T[:2], color="0.87")
        for arrows, color, width in ((truths[0], "black", 0.03), (directions[0], "red", 0.015)):
            column[2].quiver(*BLUE.T[:2], *-arrows.T, color=color, width=width, scale=2.5, zorder=3)
        cosine = f"cosine {cosines[0]:.2f}" if directions.any() else "no gradient"
        for ax, row, label in zip(column, ROWS, ("", answer, cosine)):
            ax.fill(*BLUE.T[:2], fill=False)
            ax.set(xlim=SQUARE[:2], ylim=SQUARE[2:], xticks=[], yticks=[], aspect="equal")
            ax.set(xlabel=label, ylabel=row * (name == "Z-buffer"), title=name * (row == "image"))
    tsr.scripts.save(output / "compare_gradients.png", figure, dpi=130)
    plt.close(figure)
    print(result)
    return result


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        main()
