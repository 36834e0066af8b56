"""What scripts that fit have in common: they end when told to, and leave whole files or a sentence.

if __name__ == "__main__":
    with scripts.plain_errors():
        output = scripts.folder("out/fit")
        for step in scripts.interruptible(range(300)):
            ...
        scripts.save(output / "result.json", {"steps": step + 1})
"""

import contextlib
import json
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Union

from taichi_softras.io.contents import MeshFileError
from taichi_softras.io.files import written_beside
from taichi_softras.io.notebook import bar_in_notebook, is_notebook

TRIAL_BYTES = 2**20  # about what a script writes


def interruptible(steps: Iterable) -> Iterator:
    """Goes through `steps`, until Ctrl-C (SIGINT) or SIGTERM ends it: after the step it is in.

    What follows the loop then has all results so far. Signals are waited for from this call on;
    one that comes before the first step ends after that. A second signal acts as ever. In a thread
    that is not Python's main one signals do not arrive, and nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        return iter(steps)
    run = _until_told_to_end(steps)
    next(run)
    return run


def progress(steps: Iterable, description: str = "") -> Iterator:
    """Goes through `steps` behind a bar: in a terminal, or below the cell of a notebook.

    Where the errors of a program go to a file, there is no bar. A notebook needs no widgets.

    Args:
        steps: how many they are is shown if they have a length.
        description: stands before the bar.
    """
    if is_notebook():
        return bar_in_notebook(steps, description)
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    is_hidden = not console.is_terminal
    return iter(track(steps, description, console=console, transient=True, disable=is_hidden))


def _until_told_to_end(steps: Iterable) -> Iterator:
    received, before = [], {}

    def receive(number, _):
        received.append(number)
        restore()
        print("ending after this step; once more: at once", file=sys.stderr, flush=True)

    def restore():
        while before:
            signal.signal(*before.popitem())

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.getsignal(number) or signal.SIG_DFL
            signal.signal(number, receive)
        yield
        for step in steps:
            yield step
            if received:
                return
    finally:
        restore()


def folder(path: Union[str, os.PathLike]) -> pathlib.Path:
    """Makes a folder for results, and tries before the work whether files can be written there.

    Raises:
        OSError: it cannot be made or written to, or the disk is full.
    """
    made = pathlib.Path(path)
    made.mkdir(parents=True, exist_ok=True)
    trial = made / f".{os.getpid()}-trial"
    try:
        trial.write_bytes(bytes(TRIAL_BYTES))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        trial.unlink(missing_ok=True)
    return made


def save(path: Union[str, os.PathLike], result: Any, **options) -> None:
    """Writes what a script found: a figure of matplotlib, a text, or else anything as JSON.

    Args:
        path: written as a whole or not at all.
        result: has `savefig`, or is a text, or consists of what JSON knows.
        options: of `savefig`.

    Raises:
        OSError: it cannot be written.
    """
    with written_beside(path) as beside:
        if hasattr(result, "savefig"):
            result.savefig(beside, **options)
        else:
            text = result if isinstance(result, str) else json.dumps(result, indent=2) + "\n"
            beside.write_text(text)


@contextlib.contextmanager
def plain_errors(before: str = "") -> Iterator[None]:
    """Within it a full disk, a folder or a mesh file that is none, and Ctrl-C end the script.

    With one line and no traceback: they are no fault of its.

    Args:
        before: what the line begins with.
    """
    try:
        yield
    except (OSError, MeshFileError) as error:
        raise SystemExit(f"{before}{error}") from None
    except KeyboardInterrupt:
        raise SystemExit(f"{before}interrupted") from None
