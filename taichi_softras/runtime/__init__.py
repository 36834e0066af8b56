"""The runtime, Taichi or Quadrants: what the package asks of it beyond its public interface.

Every use of a private name of theirs stands here, with its reason; pyproject.toml bounds the
versions that these were tried with. `choice` says which of the two it is. What they do differently
stands below, in one place; all else is said of Taichi and true of both.
"""

import atexit
import contextlib
import ctypes
import functools
import itertools
import os
import threading
import warnings
import weakref
from collections.abc import Iterator
from typing import Any, Callable

import numpy as np

from taichi_softras.runtime import front_end as front_end  # before any kernel is defined
from taichi_softras.runtime.choice import (
    IS_QUADRANTS,
    TITLE,
    explain_no_program,
    part,
    refuse_both,
)
from taichi_softras.runtime.choice import refuse_other as refuse_other
from taichi_softras.runtime.choice import ti as ti

core, _ad, impl = part("_lib").core, part("ad._ad"), part("lang.impl")
_Expr = part("lang.expr").Expr
primitive_types, template = part("types.primitive_types"), part("types.annotations").template
NdarrayType = part("types.ndarray_type").NdarrayType
enums = part("types.enums" if IS_QUADRANTS else "lang.enums")
AutodiffMode, SNodeGradType = enums.AutodiffMode, enums.SNodeGradType
Kernel = part("lang.kernel" if IS_QUADRANTS else "lang.kernel_impl").Kernel

vec2, vec3, vec4 = ti.math.vec2, ti.math.vec3, ti.math.vec4  # they follow `default_fp`

# Taichi writes its compilation cache when a program ends, and at the interpreter's exit it may
# outlive everything: without this the next start compiles all kernels again
atexit.register(ti.reset)

CPU_BLOCK = 512  # Taichi runs this many neighbouring iterations of a CPU loop on one thread

NOT_BEGUN = (
    f"{TITLE} is not initialised: call ti.init(arch=ti.cpu), or ti.gpu, before using taichi_softras"
)
ENDED = (
    "ti.init was called again (or ti.reset): everything made before it is gone, make new scenes, "
    "renderers and optimizers"
)
FORKED = (
    f"this process was forked after ti.init, and {TITLE} does not outlive a fork: start it by the "
    "method 'spawn', as in multiprocessing.get_context('spawn') or "
    "DataLoader(multiprocessing_context='spawn')"
)
ELSEWHERE = (
    f"on this backend {TITLE} {'makes fields' if IS_QUADRANTS else 'compiles'} only in the thread "
    "that called ti.init: make scenes and draw each of them once there; then another thread may "
    "draw them"
)

# Where the two differ -----------------------------------------------------------------------------


def _program() -> Any:
    """The running program, or None: for which `prog` of Quadrants raises."""
    runtime = impl.get_runtime()
    return runtime._prog if IS_QUADRANTS else runtime.prog


def _forget_program() -> None:
    """Leaves the running program as it is."""
    setattr(impl.get_runtime(), "_prog" if IS_QUADRANTS else "prog", None)


def variants_of(kernel: Any) -> dict:
    """What was compiled of a `Kernel`, for each set of templates."""
    return kernel.materialized_kernels if IS_QUADRANTS else kernel.compiled_kernels


def _annotations(kernel: Any) -> list:
    """The types of the arguments of a `Kernel`."""
    return [one.annotation for one in (kernel.arg_metas if IS_QUADRANTS else kernel.arguments)]


def _slot(index: int) -> Any:
    """How a launch names an argument: in Taichi it may be a member of one."""
    return index if IS_QUADRANTS else (index,)


def _code(kernel: Any, arguments: tuple) -> tuple:
    """A variant that was called, and its machine code, which Quadrants keeps."""
    key = kernel.ensure_compiled(*arguments)
    variant = variants_of(kernel)[key]
    if IS_QUADRANTS:
        return variant, kernel.compiled_kernel_data_by_key[key]
    program = _program()
    return variant, program.compile_kernel(program.config(), program.get_device_caps(), variant)


_reset = impl.reset


def _reset_program() -> None:
    """What `ti.init` and `ti.reset` begin with."""
    if IS_QUADRANTS:
        impl.get_runtime().ndarrays.clear()  # it would empty those that are ended, which refuse
    _reset()
    if IS_QUADRANTS:
        # Reverse mode through loops whose bounds are known at run time; in Taichi it's the default
        impl.default_cfg().ad_stack_experimental_enabled = True


if IS_QUADRANTS:
    # It remembers variants by weak references, and says once that there are none of tuples: of
    # ours (all fields of a tree are one template) and of its own `clear_gradients`
    warnings.filterwarnings("ignore", "cannot create weak reference to 'tuple' object")

# What runs ----------------------------------------------------------------------------------------


_accepted = weakref.WeakSet()  # programs whose types of numbers were looked at


def require_taichi() -> None:
    """Raises a RuntimeError that says what to do when `ti.init` was not called, or how."""
    program = _program()
    if program is None:
        raise RuntimeError(FORKED if _is_forked else explain_no_program() or NOT_BEGUN)
    refuse_both()
    if program not in _accepted:
        _accept(program)


def _accept(program: Any) -> None:
    """Looks at its types of numbers, once."""
    floats, integers = program.config().default_fp, program.config().default_ip
    if floats not in (ti.f32, ti.f64) or integers != ti.i32:
        raise RuntimeError(
            f"ti.init was called with default_fp={floats.to_string()}, "
            f"default_ip={integers.to_string()}, and taichi_softras computes in f32 or f64 and "
            "counts in i32: call ti.init without these, or with default_fp=ti.f64"
        )
    _accepted.add(program)


def current_runtime() -> weakref.ref:
    """The running Taichi program; equal to a later one only if `ti.init` was not called between.

    A weak reference: a program that outlives `ti.reset` takes its successor down with it.
    """
    require_taichi()
    return weakref.ref(_program())


def _config() -> Any:
    """What `ti.init` was told, and may be changed."""
    require_taichi()
    return impl.current_cfg()


def is_cpu() -> bool:
    """Whether kernels run on the CPU, where a task should own many pixels, not one."""
    return _config().arch in (ti.x64, ti.arm64)


def task_block() -> int:
    """How many iterations of a loop make a task: `if i % block == 0` begins one.

    On a CPU Taichi gives `CPU_BLOCK` neighbouring iterations to one thread, so that tasks which
    are long but few must be spread over as many.
    """
    return CPU_BLOCK if is_cpu() else 1


def is_double() -> bool:
    """Whether `float` in kernels has 64 bits, as `ti.init(default_fp=...)` says."""
    return _config().default_fp == ti.f64


_tried_doubles: dict = {}  # the running program, and whether its device has them


def has_doubles() -> bool:
    """Whether kernels have 64-bit floats, whatever their `float` is.

    Of Vulkan's devices some do: the first call runs a kernel, so none may be compiling then.
    """
    if is_cpu() or is_double() or _config().arch == ti.cuda:
        return True
    runtime = current_runtime()
    if runtime not in _tried_doubles:
        _tried_doubles.clear()
        _tried_doubles[runtime] = _config().arch == ti.vulkan and _try_doubles()
    return _tried_doubles[runtime]


def _try_doubles() -> bool:
    """Whether 1 + 2^-40 is more than 1."""
    number = ti.ndarray(ti.f32, 1)
    number.fill(2.0**-40)
    try:
        _lose_digits(number)
        return number[0] > 0.0
    except RuntimeError:
        return False


@ti.kernel
def _lose_digits(number: ti.types.ndarray(dtype=ti.f32, ndim=1, needs_grad=False)):
    """To 0 if floats are short."""
    for i in number:
        more = ti.sqrt(1.0 + ti.cast(number[i], ti.f64))
        number[i] = ti.cast(more * more - 1.0, ti.f32)


def default_numpy_float() -> type:
    """np.float32 or np.float64, as `float` in kernels."""
    return np.float64 if is_double() else np.float32


def has_begun() -> bool:
    """Whether `ti.init` was called, in this process."""
    return _program() is not None


def shares_memory() -> bool:
    """Whether arrays lie where other packages reach them: of a CPU, or of CUDA."""
    return is_cpu() or _config().arch == ti.cuda


def address_of(array: ti.Ndarray) -> int:
    """Where the numbers of an array lie, see `shares_memory`."""
    return _program().get_ndarray_data_ptr_as_int(array.arr)


def recording_tape() -> object:
    """The `ti.ad.Tape` that records what is called now, or None."""
    runtime = impl.get_runtime()
    return None if runtime.grad_replaced else runtime.target_tape


def is_in_tape() -> bool:
    """Whether a `ti.ad.Tape` is open."""
    return impl.get_runtime().target_tape is not None


def shape_of_element(field: ti.Field) -> tuple:
    """() of scalars, (n,) of vectors, (n, m) of matrices."""
    return (field.n, field.m)[: field.ndim] if isinstance(field, ti.MatrixField) else ()


def shape_of_numbers(field: ti.Field) -> tuple:
    """That of the array of all its numbers: its axes, then those of an element."""
    return (*field.shape, *shape_of_element(field))


def numpy_type(held: Any) -> type:
    """That of the numbers of a field or an array of ours: floats, or 32-bit integers."""
    return np.int32 if held.dtype == ti.i32 else default_numpy_float()


def has_gradient(field: ti.Field) -> bool:
    """Whether `field.grad` is placed."""
    return field.snode.ptr.has_adjoint()


def has_dual(field: ti.Field) -> bool:
    """Whether `field.dual`, the tangent of forward mode, is placed."""
    return field.snode.ptr.has_dual()


# The end of a program -----------------------------------------------------------------------------

_living = weakref.WeakSet()  # fields and arrays of the running program
_is_forked = False  # whether the program runs in the process that this one was forked from


def _make_living(kind: type, *_, **__) -> Any:
    """`__new__` of fields and arrays, copies too."""
    made = object.__new__(kind)
    _living.add(made)
    return made


ti.Field.__new__ = ti.Ndarray.__new__ = _make_living

# Taichi frees arrays of numbers that nobody holds; those of vectors stayed as long as the program
ti.VectorNdarray.__del__ = ti.MatrixNdarray.__del__ = ti.ScalarNdarray.__del__


def _end_all(why: str) -> None:
    """Whoever touches a field or an array of the program from now on is told why it is gone.

    In Taichi they read freed memory, and an old array that is collected frees a new one's.
    """
    while _living:
        ended: Any = _living.pop()
        ended.__class__ = _ended(ended.__class__, why)


@functools.cache
def _ended(kind: type, why: str) -> type:
    """The class of fields or arrays of this kind when their program is gone."""

    def refuse(self, name: str) -> Any:
        if name.startswith("__"):  # what Python asks of any object
            return object.__getattribute__(self, name)
        raise RuntimeError(why)

    return type(kind.__name__, (kind,), {"__getattribute__": refuse, "__del__": lambda self: None})


def _reset_and_end_all() -> None:
    """In place of the runtime's own."""
    global _home
    _end_all(ENDED)
    _reset_program()
    _home = threading.get_ident()


impl.reset = _reset_and_end_all


def _leave_parent() -> None:
    """In a forked process: Taichi's threads are not here, and whoever waits for them hangs."""
    global _is_forked
    program = _program()
    if program is not None:
        _is_forked = True
        _end_all(FORKED)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(program))  # its end would wait for them, too
        _forget_program()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_parent)


# Threads ------------------------------------------------------------------------------------------

_home = None  # the thread of `ti.init`; not known if that came before this import


def _at_home(function: Callable) -> Callable:
    """`function`, with a RuntimeError in another thread where it would break LLVM's programs."""

    @functools.wraps(function)
    def checked(*arguments, **options):
        program = _program()
        if program is not None and _home not in (None, threading.get_ident()):
            if core.arch_uses_llvm(program.config().arch):
                raise RuntimeError(ELSEWHERE)
        return function(*arguments, **options)

    return checked


# What begins to compile a kernel, which Quadrants does in any thread; to build a tree of fields,
# and what ends that
if not IS_QUADRANTS:
    _kernel_impl = part("lang.kernel_impl")
    _kernel_impl._get_tree_and_ctx = _at_home(_kernel_impl._get_tree_and_ctx)
ti.FieldsBuilder.__init__ = _at_home(ti.FieldsBuilder.__init__)
ti.FieldsBuilder._finalize = _at_home(ti.FieldsBuilder._finalize)


# Kernels ------------------------------------------------------------------------------------------

_variants = weakref.WeakKeyDictionary()  # of each program: launchers by kernel and templates


def kernel(function: Callable) -> Callable:
    """`ti.kernel` for kernels on our own arrays, and numbers: a launch costs a fifth.

    At each call Taichi looks for the variant and checks each argument: 30 microseconds and 7 for
    each argument. Here variants differ in template arguments, and in arrays whose type or number
    of axes the signature leaves open; these may be of NumPy, contiguous. So the first call of a
    variant goes through Taichi, and later ones set the arguments and launch. They compile without
    Taichi's search for equal expressions, which takes up to half of the time: LLVM and the drivers
    of GPUs look for them again.

    Nothing is recorded on a tape: adjoints of these kernels are kernels like them.
    """
    return launched_directly(ti.kernel(function))


def launched_directly(slow: Any) -> Callable:
    """See `kernel`; of a kernel that Taichi has made."""
    primal = slow._primal
    features = [_feature(annotation) for annotation in _annotations(primal)]
    setters = _with_slots([_setter(annotation) for annotation in _annotations(primal)])

    @functools.wraps(slow)
    def launch(*arguments):
        program = _program()
        if program is None:
            require_taichi()
        variants = _variants.get(program)
        if variants is None:
            variants = _variants[program] = {}
        chosen = tuple(of(one) for of, one in zip(features, arguments) if of is not None)
        found = variants.get((primal, chosen))
        if found is None:
            with unrecorded(), _unrolled(), _plain_compilation():
                slow(*arguments)
                variants[primal, chosen] = _code(primal, arguments)
            return
        compiled, code = found
        context = compiled.make_launch_context()
        for argument, (setter, slot) in zip(arguments, setters):
            if setter is not None:
                setter(context, slot, argument)
        program.launch_kernel(code, context)

    return launch


@contextlib.contextmanager
def unrecorded() -> Iterator[None]:
    """No tape records what is called within. `ti.ad.no_grad` cannot be nested, this can."""
    runtime = impl.get_runtime()
    before, runtime.grad_replaced = runtime.grad_replaced, True
    try:
        yield
    finally:
        runtime.grad_replaced = before


@contextlib.contextmanager
def _unrolled() -> Iterator[None]:
    """Within it Taichi does not warn of static loops that are long."""
    runtime = impl.get_runtime()
    before, runtime.unrolling_limit = runtime.unrolling_limit, 0
    try:
        yield
    finally:
        runtime.unrolling_limit = before


def _is_open(annotation: Any) -> bool:
    """Whether an array's type or number of axes is left to the call."""
    is_array = isinstance(annotation, NdarrayType)
    return is_array and (annotation.dtype is None or annotation.ndim is None)


def _feature(annotation: object) -> Any:
    """What variants of a kernel differ in, of an argument of this type; None for nothing."""
    if isinstance(annotation, template):
        return lambda value: value
    if _is_open(annotation):
        return lambda value: (
            (type(value), value.dtype, value.ndim)
            if isinstance(value, np.ndarray)
            else (type(value), value.dtype, len(value.shape), value.element_shape)
        )
    return None


def _with_slots(setters: list) -> list:
    """Each setter with the slot of its argument; templates have none."""
    counts = itertools.accumulate((setter is not None for setter in setters), initial=0)
    return [(setter, _slot(count)) for setter, count in zip(setters, counts)]


def _setter(annotation: object) -> Any:
    """How an argument of this type is set: (context, slot, value); None for templates."""
    if isinstance(annotation, template):
        return None
    if _is_open(annotation):
        return _set_any_array
    if isinstance(annotation, NdarrayType):
        return lambda context, slot, value: context.set_arg_ndarray(slot, value.arr)
    if id(annotation) in primitive_types.real_type_ids:
        return lambda context, slot, value: context.set_arg_float(slot, float(value))
    return lambda context, slot, value: context.set_arg_int(slot, int(value))


def _set_any_array(context: Any, slot: Any, value: Any) -> None:
    """Of Taichi or of NumPy."""
    if isinstance(value, np.ndarray):
        pointer = value.ctypes.data
        context.set_arg_external_array_with_shape(slot, pointer, value.nbytes, value.shape, 0)
    else:
        context.set_arg_ndarray(slot, value.arr)


# Field trees -------------------------------------------------------------------------------------

_hidden_trees = weakref.WeakKeyDictionary()  # of each program: ids of trees that nobody holds
_gradients = weakref.WeakKeyDictionary()  # of each program: by tree and kind, what clears them


def num_trees() -> int:
    """How many field trees the program has."""
    return _program().get_snode_tree_size()


def hidden_trees() -> set:
    """Ids of the trees that tapes must not clear: their fields are held by nobody."""
    return _hidden_trees.setdefault(_program(), set())


@kernel
def _clear(nodes: ti.template()):  # the fields of each node of a tree
    """Sets them to zero. A kernel a node, as in Taichi, takes three times as long to compile."""
    for fields in ti.static(nodes):
        for element in ti.grouped(ti.ScalarField(_Expr(fields[0]))):
            for field in ti.static(fields):
                ti.ScalarField(_Expr(field))[element] = ti.cast(0, field.get_dt())


def clear_gradients_by(tree: int, clear_grads: Callable, clear_duals: Callable) -> None:
    """Has these set the gradients and the tangents of a tree to zero, and no kernel."""
    cleared_by = _gradients.setdefault(_program(), {})
    cleared_by[tree, SNodeGradType.ADJOINT] = clear_grads
    cleared_by[tree, SNodeGradType.DUAL] = clear_duals


def _clear_all_gradients(kind: SNodeGradType = SNodeGradType.ADJOINT) -> None:
    """Sets the gradients of all fields to zero, but for those of hidden trees."""
    impl.get_runtime().materialize()
    program = _program()
    cleared_by = _gradients.setdefault(program, {})
    hidden = hidden_trees()
    for tree in range(num_trees()):
        if tree not in hidden:
            if (tree, kind) not in cleared_by:
                found = tuple(_find_gradients(program.get_snode_root(tree), kind))
                by_kernel = functools.partial(_clear, found)
                cleared_by[tree, kind] = by_kernel if found else lambda: None
            cleared_by[tree, kind]()


def _find_gradients(node: Any, kind: SNodeGradType) -> list:
    """For each node below that has gradients of this kind, those."""
    children = [node.get_ch(k) for k in range(node.get_num_ch())]
    places = [child for child in children if child.is_place()]
    own = tuple(child.get_expr() for child in places if child.get_snode_grad_type() == kind)
    below = [found for c in children if not c.is_place() for found in _find_gradients(c, kind)]
    return [own] * bool(own) + below


# A tape begins with this. Taichi's own visits every node of every tree that there ever was, and
# frees none: each mesh that was dropped would slow every later tape
_ad.clear_all_gradients = _clear_all_gradients


# Compilation --------------------------------------------------------------------------------------


class _without:  # noqa: N801, a context manager
    """Within it kernels compile without settings of `ti.init`; those that are compiled stay."""

    settings: tuple = ()

    def __enter__(self):
        # Quadrants 1.4 has no `make_cpu_multithreading_loop`
        self._before = {name: getattr(_config(), name, None) for name in self.settings}
        for name, before in self._before.items():
            if before is not None:
                setattr(_config(), name, type(before)(0))

    def __exit__(self, *_):
        for name, before in self._before.items():
            if before is not None:
                setattr(_config(), name, before)


class quick_compilation(_without):  # noqa: N801, a context manager
    """Within it kernels compile in half the time, and on a CPU their loops run on one thread.

    For the small kernels of one scene. What is compiled already stays as it is.
    """

    settings = ("make_cpu_multithreading_loop",)


class lean_compilation(_without):  # noqa: N801, a context manager
    """Within it kernels compile without Taichi's own search for stores that loads read.

    It takes more than half of the time that long kernels compile, and LLVM and the drivers of GPUs
    do the same again: what is compiled runs as fast, but for small loops, a twentieth slower.
    Never for kernels that Taichi differentiates: some gradients are wrong without it. What is
    compiled already stays as it is.
    """

    settings = ("cfg_optimization",)


class _plain_compilation(_without):  # noqa: N801, a context manager
    """Within it kernels compile without Taichi's search for equal expressions, see `kernel`."""

    settings = ("opt_level",)


# Forward mode, for kernels of users ---------------------------------------------------------------


class ForwardMode:
    """Within it kernels also compute `dual` of what they write, from `dual` of what they read.

    As `ti.ad.FwdMode`, which refuses vectors and matrices: the derivatives of local ones are
    wrong in Taichi 1.7, unless kernels are compiled with all of them taken apart.
    """

    def __enter__(self):
        impl.get_runtime().materialize()
        self._modes = []
        self._is_taken_apart = _config().force_scalarize_matrix
        _config().force_scalarize_matrix = True
        impl.get_runtime().fwd_mode_manager = self

    def __exit__(self, *_):
        impl.get_runtime().fwd_mode_manager = None
        _config().force_scalarize_matrix = self._is_taken_apart
        for kernel, mode in self._modes:
            kernel.autodiff_mode = mode

    def insert(self, kernel) -> None:
        """Called by Taichi before it runs a kernel."""
        self._modes.insert(0, (kernel, kernel.autodiff_mode))
        kernel.autodiff_mode = AutodiffMode.FORWARD


def clear_gradients() -> None:
    """Sets `grad` of all fields to zero, as a tape does when it opens."""
    _clear_all_gradients(SNodeGradType.ADJOINT)


def clear_duals() -> None:
    """Sets `dual` of all fields to zero."""
    _clear_all_gradients(SNodeGradType.DUAL)
