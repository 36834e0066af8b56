"""Files that are there as a whole or not at all."""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Union


@contextlib.contextmanager
def written_beside(path: Union[str, os.PathLike]) -> Iterator[pathlib.Path]:
    """A path of the same suffix and folder to write to; at the end it takes the place of `path`.

    If writing fails, what was there before stays, and nothing half-written is left.

    Raises:
        OSError: whatever writing raised, with `path` as the file.
    """
    wanted = pathlib.Path(os.path.realpath(os.path.expanduser(path)))  # a link stays a link
    beside = wanted.with_name(f".{os.getpid()}-{wanted.name}")
    try:
        yield beside
        os.replace(beside, wanted)
    except OSError as error:
        if error.errno is None:
            raise OSError(str(error).replace(str(beside), str(path))) from None
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


@contextlib.contextmanager
def written_together(paths: Sequence) -> Iterator[list]:
    """As `written_beside`, several files: all are written before the first takes its place.

    The first of `paths` names the others: it takes its place last, and errors name it.
    """
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(written_beside(path)) for path in paths]
