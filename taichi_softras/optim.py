"""Optimizers over fields: the gradients that a tape left in; new values in the same fields out.

A step is one kernel over all fields of an optimizer. Every number is a kernel argument, so learning
rates and betas may change at any step. A gradient that is not finite goes through: look at the
loss, not at the optimizer. Of gradients that are all 0 an optimizer warns, once.
"""

import warnings

from taichi_softras.fields import FieldTree, body, num_renewals
from taichi_softras.runtime import has_gradient, kernel, refuse_other, shape_of_element, ti
from taichi_softras.workspace import array, is_due


class Optimizer:
    """What all have: fields with gradient, and an eye on whether there is any.

    Attributes:
        fields: what is moved.
        num_steps: that were done.
    """

    def __init__(self, fields):
        """Checks the fields."""
        self.fields = _check_fields(fields)
        self.num_steps = 0
        self._has_moved = ti.ndarray(int, 1)  # 1 if a gradient was not 0 since the last look
        self._has_warned = False
        self.reset()

    def reset(self) -> None:
        """Forgets the steps before: moments and velocities begin at 0 again.

        `Mesh.replace` has it done for optimizers of the mesh's fields. Call it where vertices are
        made of parameters of your own.
        """
        self._first_step = self.num_steps
        self._renewals = [num_renewals(field) for field in self.fields]

    def _count_since_reset(self) -> int:
        """Steps since then; it resets if a field holds other elements now."""
        if self._renewals != [num_renewals(field) for field in self.fields]:
            self.reset()
        return self.num_steps - self._first_step

    def _end_step(self) -> None:
        """Counts, and looks after 1, 2, 4, 8, ... steps: a look waits for the device."""
        self.num_steps += 1
        if self._has_warned or not is_due(self.num_steps):
            return
        if not self._has_moved[0]:
            self._has_warned = True
            warnings.warn(
                f"all gradients were 0 at step {self.num_steps}, so nothing moves: is the loss "
                "made within ti.ad.Tape(loss), from a drawing that depends on these fields; does "
                "the image show the mesh, and does its blur (sigma) reach the target?",
                stacklevel=3,
            )
        self._has_moved[0] = 0


class Adam(Optimizer):
    """Adam with bias correction: Kingma & Ba 2015, algorithm 1.

        optimizer = Adam([mesh.vertices], learning_rate=1e-2)
        for step in range(200):
            with ti.ad.Tape(loss):
                ...
            optimizer.step()

    Args:
        fields: scalar, vector or matrix fields of any shape, with gradient.
        learning_rate: alpha, in the unit of the fields a step; may be changed between steps.
        betas: decay of the means of the gradient and of its square, each in [0, 1); may be changed.
        eps: added to the root of the mean square.

    Raises:
        ValueError: no field, a field without gradient, or a beta outside [0, 1).
    """

    def __init__(self, fields, learning_rate: float = 1e-2, betas=(0.9, 0.999), eps: float = 1e-8):
        super().__init__(fields)
        if not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"betas must be two numbers in [0, 1), got {betas}")
        self.learning_rate, self.betas, self.eps = learning_rate, betas, eps
        tree = FieldTree()
        self._means = [_add_like(tree, field) for field in self.fields]
        self._mean_squares = [_add_like(tree, field) for field in self.fields]
        tree.place()

    def step(self) -> None:
        """Moves every field against its gradient."""
        step = self._count_since_reset() + 1
        beta_1, beta_2 = self.betas
        adam_step(
            _bodies(self.fields),
            _bodies(self._means),
            _bodies(self._mean_squares),
            self.learning_rate / (1.0 - beta_1**step),
            self.eps,
            1.0 - beta_1,
            1.0 - beta_2,
            1.0 - beta_2**step,
            int(step == 1),
            self._has_moved,
        )
        self._end_step()


class SGD(Optimizer):
    """Gradient descent with momentum, as torch.optim.SGD.

    Args:
        fields: scalar, vector or matrix fields of any shape, with gradient.
        learning_rate: the fields move by -learning_rate * velocity; may be changed between steps.
        momentum: velocity = momentum * velocity + gradient, so 0 is plain gradient descent; may
            be changed between steps.

    Raises:
        ValueError: no field, or a field without gradient.
    """

    def __init__(self, fields, learning_rate: float, momentum: float = 0.0):
        super().__init__(fields)
        self.learning_rate, self.momentum = learning_rate, momentum
        tree = FieldTree()
        self._velocities = [_add_like(tree, field) for field in self.fields]
        tree.place()

    def step(self) -> None:
        """Moves every field against its gradient."""
        fields, velocities = _bodies(self.fields), _bodies(self._velocities)
        is_first = int(self._count_since_reset() == 0)
        sgd_step(fields, velocities, self.learning_rate, self.momentum, is_first, self._has_moved)
        self._end_step()


def _check_fields(fields) -> list:
    refuse_other("fields", fields)
    fields = [] if isinstance(fields, ti.Field) else list(fields)
    if not fields:
        raise ValueError("fields must be a list of at least one field, as [mesh.vertices]")
    for i, field in enumerate(fields):
        if not isinstance(field, ti.Field) or not has_gradient(field):
            raise ValueError(
                f"fields[{i}] has no gradient: an optimizer needs fields that were made with "
                f"needs_grad=True, got {type(field).__name__}"
            )
    return fields


def _add_like(tree: FieldTree, field):
    """A field of zeros like `field`, without gradient."""
    return tree.add(field.shape, shape_of_element(field), needs_grad=False)


def _bodies(fields: list) -> tuple:
    """As a kernel takes them: one template argument, the same at each step."""
    return tuple(body(field) for field in fields)


@ti.func
def is_zero(grad: ti.template(), field: ti.template()):
    """Of a number, or of all numbers of a vector or matrix, the gradient of an element."""
    zero = True
    if ti.static(isinstance(field, ti.MatrixField)):
        zero = (grad == 0.0).all()
    else:
        zero = grad == 0.0
    return zero


@kernel
def adam_step(
    parameters: ti.template(),  # tuple of fields of any shape, with gradient; in and out
    means: ti.template(),  # tuple, like parameters; in and out
    mean_squares: ti.template(),  # tuple, like parameters; in and out
    rate: float,  # learning rate / (1 - beta_1^t) at step t
    eps: float,
    rate_1: float,  # 1 - beta_1
    rate_2: float,  # 1 - beta_2
    correction_2: float,  # 1 - beta_2^t
    is_first: int,  # whether both means are 0 before, whatever they hold
    has_moved: array(int, 1),  # (1,) 1 if a gradient is not 0
):
    """One step of algorithm 1, elementwise."""
    for k in ti.static(range(len(parameters))):
        parameter, mean, mean_square = ti.static(parameters[k], means[k], mean_squares[k])
        for index in ti.grouped(parameter):
            grad = parameter.grad[index]
            if not is_zero(grad, parameter):
                has_moved[0] = 1  # threads write the same
            before, square_before = mean[index], mean_square[index]
            if is_first != 0:
                before, square_before = grad * 0.0, grad * 0.0
            mean[index] = before + rate_1 * (grad - before)
            mean_square[index] = square_before + rate_2 * (grad * grad - square_before)
            scale = ti.sqrt(mean_square[index] / correction_2) + eps
            parameter[index] = parameter[index] - rate * mean[index] / scale


@kernel
def sgd_step(
    parameters: ti.template(),  # tuple of fields of any shape, with gradient; in and out
    velocities: ti.template(),  # tuple, like parameters; in and out
    learning_rate: float,
    momentum: float,
    is_first: int,  # whether velocities are 0 before, whatever they hold
    has_moved: array(int, 1),  # (1,) 1 if a gradient is not 0
):
    """One step, elementwise."""
    for k in ti.static(range(len(parameters))):
        parameter, velocity = ti.static(parameters[k], velocities[k])
        for index in ti.grouped(parameter):
            grad = parameter.grad[index]
            if not is_zero(grad, parameter):
                has_moved[0] = 1  # threads write the same
            velocity[index] = momentum * velocity[index] + grad
            if is_first != 0:
                velocity[index] = grad
            parameter[index] = parameter[index] - learning_rate * velocity[index]
