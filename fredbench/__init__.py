"""fredbench: a robustness benchmark suite for dataset distillation.

The public names below are imported on first use, so that `import fredbench` stays light and the corruption engine's
worker processes never load torch.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from fredbench.foundation import errors as errors

if TYPE_CHECKING:
    from fredbench.corruptions import corrupt as corrupt
    from fredbench.execution.api import distill as distill
    from fredbench.execution.api import evaluate as evaluate
    from fredbench.runs.synset import Synset as Synset
    from fredbench.runs.synset import load as load

__version__ = "0.1.0"
__all__ = ["Synset", "__version__", "corrupt", "distill", "evaluate", "load"]

_LAZY = {
    "Synset": "fredbench.runs.synset",
    "distill": "fredbench.execution.api",
    "evaluate": "fredbench.execution.api",
    "corrupt": "fredbench.corruptions",
    "load": "fredbench.runs.synset",
}


# Read when torch loads its OpenMP, so set here, before anything of ours imports it, for scripts and workers as for the
# command. By default idle threads spin: on a machine that others use too, two threads then spend most of their time
# waiting for each other at full load. Where torch is loaded already it is too late, and nothing is changed.
if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# What callers catch is public under a short name, `fredbench.errors`; it lies with the rest of the foundation.
sys.modules[f"{__name__}.errors"] = errors


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'fredbench' has no attribute {name!r}")
