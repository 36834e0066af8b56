"""`python -m taichi_softras`: the command line, see `cli`."""

import sys

from taichi_softras.cli import main

if __name__ == "__main__":
    sys.exit(main())
