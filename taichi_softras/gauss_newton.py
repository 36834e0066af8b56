"""Gauss-Newton over fields: residuals and their Jacobian in; new values in the same fields out.

M. J. D. Powell, "A hybrid method for nonlinear equations", 1970; J. Nocedal, S. Wright,
"Numerical Optimization", 2006, chapters 4.1 and 10.3.
"""

from typing import Any, Callable

import numpy as np

from taichi_softras.runtime import refuse_other, ti
from taichi_softras.scene.checks import check_shape


class GaussNewton:
    """Least squares by dogleg steps within a trust region, for few parameters.

        optimizer = GaussNewton([camera.eye], residuals, jacobian)
        while not optimizer.is_converged:
            cost = optimizer.step()

    A step is that of Gauss-Newton where it is shorter than the trust radius, else it goes along
    the steepest descent and bends towards it. Steps that do not lower the cost are taken back.

    Attributes:
        cost: half the sum of squared residuals; None before the first step.
        trust_radius: the longest step, in the unit of the parameters.
        is_converged: whether the last step, or what it lowered the cost by, was below `tolerance`.
        num_steps: how many steps were tried.
    """

    def __init__(
        self,
        fields: list,
        residuals: Callable,
        jacobian: Callable,
        trust_radius: float = 1.0,
        tolerance: float = 1e-6,
    ):
        """Asks for nothing yet.

        Args:
            fields: scalar, vector or matrix fields of any shape; of P numbers in all.
            residuals: () -> (N,) NumPy array at the current values of the fields.
            jacobian: () -> (N, P) its derivatives, at the same values; P in the order of
                `fields`, C order within a field, as of `Renderer.jacobian`. Called once for each
                step that is kept, after `residuals`.
            trust_radius: of the first step.
            tolerance: relative, of steps and of the cost.

        Raises:
            ValueError: no field, or something else than a field; a radius or tolerance <= 0.
        """
        refuse_other("fields", fields)
        self.fields = [] if isinstance(fields, ti.Field) else list(fields)
        if not self.fields or not all(isinstance(field, ti.Field) for field in self.fields):
            raise ValueError("fields must be a list of at least one field, as [camera.eye]")
        if not (trust_radius > 0 and tolerance > 0):
            raise ValueError(
                f"trust_radius and tolerance must be positive, got {trust_radius}, {tolerance}"
            )
        self._find_residuals, self._find_jacobian = residuals, jacobian
        self.trust_radius, self.tolerance = trust_radius, tolerance
        self.cost: Any = None
        self.is_converged, self.num_steps = False, 0
        self._values: Any = None  # those at which the next three were computed, if they were
        self._residuals: Any = None
        self._gradient: Any = None
        self._hessian: Any = None

    def step(self) -> float:
        """Tries one step; returns the cost that was reached, the old one if it is taken back.

        Raises:
            ValueError: residuals or a Jacobian of another shape, or not finite at the start.
        """
        self.num_steps += 1
        values = self._gather()
        if self._values is None or not np.array_equal(values, self._values):
            self._look_at(values, self._checked_residuals())
        if self._hessian is None:
            self._linearize()
        step = dogleg(self._gradient, self._hessian, self.trust_radius)
        predicted = -(self._gradient @ step + 0.5 * step @ self._hessian @ step)
        length = float(np.linalg.norm(step))
        if predicted <= self.tolerance**2 * self.cost:
            self.is_converged = True
            return self.cost

        self._scatter(values + step)
        residuals = self._checked_residuals()
        lowered = self.cost - 0.5 * residuals @ residuals
        if not lowered > 0.25 * predicted:  # also if it is NaN
            self.trust_radius = 0.25 * length
        elif lowered > 0.75 * predicted and length > 0.99 * self.trust_radius:
            self.trust_radius *= 2.0
        is_short = length <= self.tolerance * (np.linalg.norm(values) + self.tolerance)
        is_level = 0.25 * predicted < lowered <= self.tolerance * self.cost
        self.is_converged = bool(is_short or is_level)
        if lowered > 0.0:
            self._look_at(self._gather(), residuals)
        else:
            self._scatter(values)
        return self.cost

    def _look_at(self, values: np.ndarray, residuals: np.ndarray) -> None:
        self._values, self._residuals, self._hessian = values, residuals, None
        self.cost = 0.5 * float(residuals @ residuals)
        if not np.isfinite(self.cost):
            raise ValueError("residuals() has entries that are NaN or infinite")

    def _linearize(self) -> None:
        jacobian = np.asarray(self._find_jacobian(), np.float64)
        wanted = len(self._residuals), len(self._values)
        if jacobian.shape != wanted:
            raise ValueError(
                f"jacobian() must have shape (N, P) = {wanted}, residuals by the numbers in "
                f"fields, got {jacobian.shape}"
            )
        if not np.isfinite(jacobian).all():
            raise ValueError("jacobian() has entries that are NaN or infinite")
        self._gradient = jacobian.T @ self._residuals
        self._hessian = jacobian.T @ jacobian

    def _checked_residuals(self) -> np.ndarray:
        residuals = np.asarray(self._find_residuals(), np.float64)
        check_shape("residuals()", residuals, ("N",))
        return residuals

    def _gather(self) -> np.ndarray:
        """(P,) the numbers in the fields."""
        return np.concatenate([np.ravel(field.to_numpy()) for field in self.fields]).astype(float)

    def _scatter(self, values: np.ndarray) -> None:
        for field in self.fields:
            old = np.asarray(field.to_numpy())
            field.from_numpy(np.asarray(values[: old.size].reshape(old.shape), old.dtype))
            values = values[old.size :]


def dogleg(gradient: np.ndarray, hessian: np.ndarray, radius: float) -> np.ndarray:
    """The step of length <= radius on Powell's path; Nocedal & Wright, equation 4.16.

    Args:
        gradient: (P,) J^T r.
        hessian: (P, P) J^T J; where it is singular, the shortest Gauss-Newton step is taken.
        radius: of the trust region.
    """
    full = np.linalg.lstsq(hessian, -gradient, rcond=None)[0]
    if np.linalg.norm(full) <= radius:
        return full
    curvature = gradient @ hessian @ gradient
    slope = np.linalg.norm(gradient)
    steepest = -gradient * (slope**2 / curvature)
    if np.linalg.norm(steepest) >= radius:
        return -gradient * (radius / slope)
    bend = full - steepest
    a, b, c = bend @ bend, steepest @ bend, steepest @ steepest - radius**2
    return steepest + bend * ((np.sqrt(b * b - a * c) - b) / a)
