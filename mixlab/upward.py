"""Names that are resolved when they are used: how the command line and `import mixlab` reach the packages above.

`mixlab` imports nothing above itself, and nothing heavy before it is needed, so both know what they offer by name.
"""

from __future__ import annotations

import importlib
from typing import Any


def resolve(name: str) -> Any:
    """What `package.module:attribute` names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
