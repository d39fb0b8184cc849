"""`mixlab` as a user calls it, in a process of its own or, where another call has shown that, in this one."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from mixlab.cli import main

Done = subprocess.CompletedProcess[str]


def plain_environment(columns: int) -> dict[str, str]:
    return {"NO_COLOR": "1", "COLUMNS": str(columns)}


def mixlab(*args: str, cwd: Path, columns: int = 120) -> Done:
    """In a process of its own."""
    command = [sys.executable, "-m", "mixlab", *args]
    environment = os.environ | plain_environment(columns)
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)


def mixlab_here(*args: str, cwd: Path, columns: int = 120) -> Done:
    """In this process, without the second that a new one takes to load what it needs; a traceback is an error here."""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        for name, value in plain_environment(columns).items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main(args)
    code = ended.value.code
    assert isinstance(code, int)
    return Done(args, code, out.getvalue(), err.getvalue())


def refused(result: Done, code: int, message: str, hint: str = "hint: ") -> None:
    """It ended with the code, a message and a hint, and said nothing else."""
    assert result.returncode == code, result.stderr
    assert message in result.stderr
    assert hint in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
