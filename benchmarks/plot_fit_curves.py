"""Draws mean IoU over steps from the history.csv of several runs of fit_silhouettes.py.

Usage: python benchmarks/plot_fit_curves.py docs/images/curves.png NAME=history.csv ...
"""

import sys

import matplotlib.pyplot as plt
import numpy as np


def main(path, *runs):
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for run in runs:
        name, history = run.split("=", 1)
        history = np.genfromtxt(history, delimiter=",", names=True)
        axes.plot(history["step"], history["iou"], label=name)
    axes.set(xlabel="step", ylabel="mean IoU at 0.5, 120 views", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:])
