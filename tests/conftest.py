"""One thread for each process of the suite, before anything loads a library that asks how many it may have."""

from __future__ import annotations

import os

# Tests run side by side, and many start processes of their own: more threads than cores only wait for one another, and
# the matrices here are so small that threads cost more than they give even alone. Pytest reads this file before it
# starts its workers, which inherit it, as do the processes that tests start.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
