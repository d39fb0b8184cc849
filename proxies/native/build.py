"""Compiles the native step with the machine's own C++ compiler, once.

The library is kept under the user's cache by the hash of all that decides it: sources, flags, compiler, processor.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from filelock import FileLock

SOURCES = ("step.cpp", "layers.h", "model.h", "vectors.h", "gemm.h")  # the first includes the others
COMPILERS = ("c++", "g++", "clang++")
FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fopenmp-simd",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-shared",
)
LONGEST_SECONDS = 300  # of one compilation, which takes some ten seconds on an idle core


class NativeError(Exception):
    """The native step cannot be had here; the message says why."""


def compiled_library() -> Path:
    """The library's file, compiled where there is none yet.

    Raises:
        NativeError: without a compiler, or where it fails.
    """
    compiler = _compiler()
    here = Path(__file__).parent
    version = _run([compiler, "--version"])
    parts = [*(here.joinpath(name).read_text() for name in SOURCES), *FLAGS, compiler, version, _processor()]
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    folder = _cache()
    library = folder / f"{name}.so"
    with FileLock(folder / f"{name}.lock"):
        if not library.exists():
            fresh = folder / f"{name}.{os.getpid()}.so"
            try:
                _run([compiler, *FLAGS, str(here / SOURCES[0]), "-o", str(fresh)])
                os.replace(fresh, library)
            finally:
                fresh.unlink(missing_ok=True)
    return library


def _compiler() -> str:
    wanted = os.environ.get("CXX")
    for name in (wanted,) if wanted else COMPILERS:
        if found := shutil.which(name):
            return found
    raise NativeError(f"no C++ compiler ({wanted or ', '.join(COMPILERS)}) on the PATH")


def _run(command: list[str]) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeError(f"{command[0]}: {error}") from None
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines()
        reason = next((line for line in lines if "error" in line), lines[0] if lines else "no output")
        raise NativeError(f"{command[0]} ended with {result.returncode}: {reason}")
    return result.stdout


def _processor() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()} {platform.node()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


def _cache() -> Path:
    """A folder that can be written: the user's cache, else one below the temporary folder."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for folder in (base / "mixlab", Path(tempfile.gettempdir(), f"mixlab-{os.getuid()}")):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if os.access(folder, os.W_OK) and folder.stat().st_uid == os.getuid():
            return folder
    raise NativeError("neither the user's cache nor the temporary folder can be written")
