"""The command line as a user types it: in a process of its own, or, where that makes no difference, in this one.

A process of its own loads torch and all that stands on it, which takes seconds.
"""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import pytest

from diffumask_datasets.cli import main

Done = subprocess.CompletedProcess[str]


def diffumask(*arguments: str, cwd: Path) -> Done:
    """``python -m diffumask_datasets`` in ``cwd``."""
    command = [sys.executable, "-m", "diffumask_datasets", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def diffumask_here(*arguments: str, cwd: Path) -> Done:
    """The same in this process."""
    out, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["diffumask", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
    status = int(end.value.code or 0)
    return subprocess.CompletedProcess(["diffumask", *arguments], status, out.getvalue(), errors.getvalue())
