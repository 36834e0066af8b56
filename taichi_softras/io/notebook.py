"""Where people look: the cell of a notebook, or else a window."""

import html
import sys
from collections.abc import Iterable, Iterator, Sized
from typing import Any

import numpy as np

from taichi_softras.io.viewing import png


def is_notebook() -> bool:
    """Whether this runs in a cell of Jupyter, Colab or another notebook."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def show_picture(picture: np.ndarray) -> None:
    """Shows (H, W, 3) in [0, 1] below the cell, or in a window of matplotlib."""
    if is_notebook():
        from IPython.display import Image, display

        display(Image(data=png(picture)))
        return
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=np.array(picture.shape[1::-1]) / 100, dpi=100)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.imshow(picture)
    axes.set_axis_off()
    plt.show()


def bar_in_notebook(steps: Iterable, description: str) -> Iterator:
    """Goes through `steps` behind a bar of HTML, which needs no widgets."""
    from IPython.display import HTML, display

    count = len(steps) if isinstance(steps, Sized) else 0
    shown = display(HTML(_bar(description, 0, count)), display_id=True)
    for done, step in enumerate(steps, 1):
        yield step
        shown.update(HTML(_bar(description, done, count)))


def _bar(description: str, done: int, count: int) -> str:
    """A bar that runs on where nobody knows the end."""
    bar = f'<progress value="{done}" max="{count}"></progress>' if count else ""
    of = f" of {count}" if count else ""
    return f"{html.escape(description)} {bar} {done}{of}"
