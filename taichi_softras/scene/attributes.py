"""Attributes that are fields: an array that is assigned goes into the field."""

from typing import Any, Optional

import numpy as np

from taichi_softras.fields import num_elements, upload
from taichi_softras.runtime import is_in_tape, shape_of_element, ti
from taichi_softras.scene.checks import finite_array


class FieldAttribute:
    """An attribute of a class. It is set to a field, or to None, once; then arrays are written."""

    def __set_name__(self, owner: type, name: str):
        self.name = name

    def __get__(self, owner: Any, kind: Optional[type] = None) -> Any:
        """The field, or None where there is none."""
        return self if owner is None else owner.__dict__.get(self.name)

    def __set__(self, owner: Any, value: Any) -> None:
        """Keeps a field, or writes numbers into the one that is there.

        Raises:
            ValueError: numbers of another shape or not finite; another field; no field to write
                into; in a tape, which would take the writing for a part of the computation.
        """
        field = self.__get__(owner)
        name = f"{type(owner).__name__.lower()}.{self.name}"
        if field is None:
            if value is not None and not isinstance(value, ti.Field):
                raise ValueError(f"{name} is None here: this one was made without it")
            owner.__dict__[self.name] = value
            return
        if value is field:
            return
        if value is None or isinstance(value, ti.Field):
            raise ValueError(
                f"{name} stays the field that it is: write into it, {name}.copy_from(field), or "
                f"make another {type(owner).__name__}"
            )
        if is_in_tape():
            raise ValueError(f"{name} must be written before the ti.ad.Tape opens")
        if hasattr(owner, "with_spare_rows"):
            value = owner.with_spare_rows(field, value)
        components = shape_of_element(field)
        if num_elements(field) == 1 and np.shape(value) == components:
            value = np.reshape(value, (*field.shape, *components))  # of the only view or light
        elif components == (1,) and np.shape(value) == field.shape:
            value = np.expand_dims(value, -1)  # of the only channel
        upload([field], [finite_array(name, value, (*field.shape, *components))])
