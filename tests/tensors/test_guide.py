"""The programs of docs/torch.md run, and README's."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def programs_of(page: str) -> list:
    """Its blocks of Python."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


@pytest.mark.cpu
def test_the_guide_runs(backend, capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    names: dict = {}
    for program in programs_of("docs/torch.md"):
        exec(program, names)  # noqa: S102, what the guide says
    (program,) = (one for one in programs_of("README.md") if "taichi_softras.torch" in one)
    exec(program, names)  # noqa: S102
    for tensor in ("vertices", "eye", "points", "corners"):
        assert float(names[tensor].grad.abs().max()) > 0.0
