"""The programs of docs/torch.md run."""

import re
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "torch.md"


@pytest.mark.cpu
def test_the_guide_runs(backend, capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    names: dict = {}
    for program in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL):
        exec(program, names)  # noqa: S102, what the guide says
    for tensor in ("vertices", "eye", "points", "corners"):
        assert float(names[tensor].grad.abs().max()) > 0.0
