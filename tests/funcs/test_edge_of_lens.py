"""The edge of a lens: the smallest radius at which what is drawn stops to go out.

The other formulas: tests/geometry/test_placement.py, against a twin, with corners on both sides.
"""

import numpy as np
import pytest

from taichi_softras.funcs.distortion import find_edge
from taichi_softras.runtime import ti
from tests.funcs.derivatives import vector_field
from tests.reference.placement import largest_radius
from tests.tolerances import FINITE_DIFFERENCE_RELATIVE


@ti.kernel
def find_edges(radial: ti.template(), edges: ti.template()):
    for i in edges:
        edges[i] = find_edge(radial[i])


@pytest.mark.f64
def test_the_edge_is_the_first_root(backend):
    """Of few and of all coefficients, of both signs; some lenses never fold back."""
    generator = np.random.default_rng(0)
    radial = generator.normal(size=(300, 3)) * generator.choice([0.0, 0.1, 1.0, 10.0], (300, 3))
    edges = ti.field(float, 300)
    find_edges(vector_field(radial), edges)
    expected = [largest_radius((k1, k2, 0, 0, k3)) ** 2 for k1, k2, k3 in radial]
    np.testing.assert_allclose(edges.to_numpy(), expected, rtol=FINITE_DIFFERENCE_RELATIVE)
    assert 0.2 < np.mean(np.array(expected) == 25) < 0.8
