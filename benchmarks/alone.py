"""Measures in processes of their own: nothing that was made or compiled before counts."""

import json
import os
import subprocess
import sys


def run_alone(script: str, part: str, *arguments: str, **environment: str) -> dict:
    """Runs `script --alone part`, and returns what `report` printed there.

    Args:
        script: path of a benchmark.
        part: what it is to measure.
        arguments: further ones of the script.
        environment: further variables.
    """
    command = [sys.executable, script, "--alone", part, *map(str, arguments)]
    environment = {**os.environ, **environment}
    run = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(run.stdout.strip().splitlines()[-1])


def report(results: dict) -> None:
    """The last line of a process."""
    print(json.dumps(results), flush=True)
