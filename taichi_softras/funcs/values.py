"""Values that are compiled in: what a kernel takes as a template."""

import dataclasses


def value(cls: type) -> type:
    """A frozen dataclass in all but name: equal values have equal hashes, and share kernels.

    The mark of a dataclass is taken off: runtimes that flatten dataclasses into kernel arguments
    must take such a value as the plain object that it is.
    """
    cls = dataclasses.dataclass(frozen=True)(cls)
    del cls.__dataclass_fields__
    return cls
