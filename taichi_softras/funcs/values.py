"""Values that are compiled in: what a kernel takes as a template."""

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # of Python 3.11; before, of type checkers alone
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_):
        """Nothing at run time."""
        return lambda decorator: decorator


@dataclass_transform(frozen_default=True)
def value(cls: type) -> type:
    """A frozen dataclass in all but name: equal values have equal hashes, and share kernels.

    The mark of a dataclass is taken off: runtimes that flatten dataclasses into kernel arguments
    must take such a value as the plain object that it is.
    """
    cls = dataclasses.dataclass(frozen=True)(cls)
    delattr(cls, "__dataclass_fields__")
    return cls
