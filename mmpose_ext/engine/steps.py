"""Long jobs made of commands, each run once."""

import shlex
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

console = Console()


def run_step(title: str, result: Path, *command) -> None:
    """Run a command unless its result is there; end where it fails.

    A job made of such steps resumes where it was interrupted.

    Args:
        title (str): What the step does, for the user.
        result (Path): The file that the command makes, last of all.
        *command: The command and its arguments.

    Raises:
        SystemExit: The command failed, or made no such file.
    """
    if result.exists():
        console.rule(f'{title}: nothing to do, {result} is there')
        return
    console.rule(title)
    command = [str(part) for part in command]
    console.print('$', shlex.join(command), markup=False, soft_wrap=True)
    start = time.perf_counter()
    status = subprocess.run(command).returncode
    if status or not result.exists():
        sys.exit(
            f'error: "{title}" ended with exit status {status}'
            + ('' if result.exists() else f' and without {result}')
        )
    console.print(f'{title}: {time.perf_counter() - start:.0f} s')
