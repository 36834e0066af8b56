"""The program of docs/from_nvdiffrast.md runs, and so does what it calls ours."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "from_nvdiffrast.md").read_text(encoding="utf-8")


@pytest.mark.cpu
def test_the_page_runs(backend):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    names: dict = {}
    exec(*re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL), names)  # what the page says
    for name in ("pos", "tex"):
        assert float(names[name].grad.abs().max()) > 0.0
    names |= {"device": "cpu", "ranges": torch.tensor([[0, 1]]), "attr": torch.rand(1, 3, 2)}
    names |= {"bias": torch.rand(1, 48, 64), "cube": torch.rand(1, 6, 4, 4, 3)}
    names |= {"direction": torch.rand(1, 48, 64, 3)}
    rows = re.findall(r"(?m)^\|[^|]*\|([^|]*\bdr\.[^|]*)\|", PAGE)
    assert len(rows) == 17
    for row in rows:
        exec(re.findall(r"`([^`]+)`", row)[0], names)
    assert names["smooth"].shape == (1, 48, 64, 3)
