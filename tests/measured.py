"""What tests have measured of gradients: `pytest -m gradients` prints it."""

errors: list = []  # of the test that runs: (of what, largest error relative to the largest entry)


def table(rows: list) -> list:
    """Lines, one for each gradient: its largest error of all tests, and the test that has it."""
    worst: dict = {}
    for name, error, test in rows:
        worst[name] = max(worst.get(name, (-1.0, "")), (error, test))
    width = max(map(len, worst), default=0)
    return [f"{name:{width}}  {error:.1e}  {test}" for name, (error, test) in sorted(worst.items())]
