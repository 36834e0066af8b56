"""Taichi's front end, which goes through the source of kernels, without what it does over again.

A function that kernels call is inlined, and for each call, of each kernel and variant, Taichi looks
for its source in all modules that there are, parses it, and draws every node of it into the lines
around, should there be a message. That was two thirds of its time before the compiler proper.
Quadrants remembers most of it by itself.
"""

import ast
import functools
import linecache
import os
import re
import sys
import textwrap
import types
import weakref
from typing import Any, Callable, Optional

from taichi_softras.runtime.choice import IS_QUADRANTS, part

_package = os.path.dirname(os.path.dirname(__file__))


# Where a node stands ------------------------------------------------------------------------------


def _name_position(context: Any, node: Any) -> str:
    """Where a node of a kernel's source stands, for messages; in one that is raised, drawn too."""
    if sys.exc_info()[1] is not None:
        return _draw_position(context, node)
    line, module = node.lineno + context.lineno_offset, _module_of(context.file)
    if module is not None:
        return f"{module}:{line}"
    where = f'File "{context.file}", line {line}'
    return f"{where}, in {context.func.func.__name__}:\n{context.src[node.lineno - 1]}\n"


@functools.lru_cache(None)
def _module_of(file: str) -> Optional[str]:
    """A module of this package, in brief: every node of every variant keeps its own name."""
    return os.path.basename(file)[:-3] if file.startswith(_package) else None


def _is_in_class(level_of_class_stackframe: int) -> bool:
    """Whether what is decorated is a method: by the line that runs so many frames above."""
    try:
        frame = sys._getframe(level_of_class_stackframe)
    except ValueError:  # the program's own file is not run by another
        return False
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return re.match(r"\s*(@(\w+\.)?data_oriented|class )", line) is not None


# Sources and their trees --------------------------------------------------------------------------


def _once(function: Callable) -> Callable:
    """`function` of one object, which is asked once for each as long as that lives."""
    answers = weakref.WeakKeyDictionary()

    def ask(one: Any) -> Any:
        if one not in answers:
            answers[one] = function(one)
        return answers[one]

    return ask


class _Trees:
    """Syntax trees by their source, lent to one call at a time: Taichi writes into their nodes."""

    def __init__(self):
        self._idle = {}  # by source: trees, each with what its nodes hold
        self._lent = {}  # by tree: its source, and the same

    def parse(self, source: str) -> ast.AST:
        """In place of `ast.parse`."""
        idle = self._idle.setdefault(source, [])
        if idle:
            tree, held = idle.pop()
        else:
            tree = ast.parse(source)
            held = [vars(node) for node in ast.walk(tree)]
        self._lent[tree] = source, held
        return tree

    def transform(self, tree: ast.AST, context: Any) -> Any:
        """In place of Taichi's `transform_tree`, after which it needs a tree no more."""
        try:
            return _transform(tree, context)
        finally:
            source, held = self._lent.pop(tree)
            if not (context.is_kernel or context.is_real_function):  # they lose their arguments
                for of_node in held:
                    of_node.pop("ptr", None)  # what a node stands for: fields and arrays, too
                    of_node.pop("caller", None)
                self._idle[source].append((tree, held))


_kernel_impl = part("lang.kernel_impl")
_kernel_impl._inside_class = _is_in_class
if not IS_QUADRANTS:
    _context = part("lang.ast.ast_transformer_utils").ASTTransformerContext
    _draw_position, _context.get_pos_info = _context.get_pos_info, _name_position

    _trees, _transform = _Trees(), _kernel_impl.transform_tree
    _kernel_impl.getsourcefile = _once(_kernel_impl.getsourcefile)
    _kernel_impl.getsourcelines = _once(_kernel_impl.getsourcelines)
    _kernel_impl.textwrap = types.SimpleNamespace(
        fill=functools.lru_cache(None)(textwrap.fill), dedent=textwrap.dedent
    )
    _kernel_impl.ast = types.SimpleNamespace(parse=_trees.parse)
    _kernel_impl.transform_tree = _trees.transform
