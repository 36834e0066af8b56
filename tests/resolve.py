"""Which runtime an installation gets, by Python and platform: `python tests/resolve.py`.

Asks uv (`pip install uv`) and the package index; nothing is installed. Ends with 1 if one of the
platforms that pyproject.toml promises has no solution, or another runtime than it should.
"""

import pathlib
import re
import subprocess
import sys

PROJECT = pathlib.Path(__file__).resolve().parent.parent / "pyproject.toml"
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
TAICHI = ("x86_64-unknown-linux-gnu", "aarch64-apple-darwin", "x86_64-pc-windows-msvc")
LINUX_ON_ARM = "aarch64-unknown-linux-gnu"  # from Python 3.10
OPTIONS = ("--no-header", "--no-annotate", "--only-binary", "taichi", "--only-binary", "quadrants")


def runtimes(python: str, platform: str, *extras: str) -> list:
    """The runtimes and their versions that a resolution names, or uv's reason against one."""
    command = ["uv", "pip", "compile", PROJECT, *OPTIONS]
    command += ["--python-version", python, "--python-platform", platform]
    command += [word for extra in extras for word in ("--extra", extra)]
    run = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
    if run.returncode:
        return [run.stderr.strip()]
    return re.findall(r"^(?:taichi|quadrants)==\S+", run.stdout, re.MULTILINE)


def main() -> int:
    """Prints the table; the number of rows that are wrong."""
    wrong = 0
    cases = [(python, platform) for platform in TAICHI for python in PYTHONS]
    cases += [(python, LINUX_ON_ARM) for python in PYTHONS[1:]]
    for python, platform in cases:
        is_taichi = platform in TAICHI and python != "3.14"
        for extras in [()] if python == "3.9" else [(), ("quadrants",)]:
            expected = {"taichi"} if is_taichi else set()
            expected |= set() if is_taichi and not extras else {"quadrants"}
            found = runtimes(python, platform, *extras)
            is_right = {name.split("==")[0] for name in found} == expected
            wrong += not is_right
            mark = "" if is_right else "WRONG: "
            print(f"{python:5} {platform:26} {' '.join(extras):10} {mark}{', '.join(found)}")
    return wrong


if __name__ == "__main__":
    sys.exit(min(main(), 1))
