"""The NumPy twin against OpenDR's own Jacobian."""

import numpy as np
import pytest

from tests import tolerances
from tests.reference.filtered_derivative import gradient
from tests.reference.opendr_goldens import OPENDR_CASES, load_opendr


@pytest.mark.parametrize("name, rule", OPENDR_CASES)
def test_twin_is_the_original(name, rule):
    golden = load_opendr(name, rule)
    at_corners = gradient(
        golden.image,
        golden.faces,
        golden.weights,
        golden.boundary,
        golden.grad_image,
        len(golden.triangles),
    )
    error = np.abs(golden.at_vertices(at_corners) - golden.grad_vertices).max()
    print(f"largest error {error:.1e}")
    assert error < tolerances.OPENDR_DOUBLE * np.abs(golden.grad_vertices).max()
