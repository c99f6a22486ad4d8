"""Distilled sets that were made elsewhere: read without running code, understood, and kept as runs like ours.

`reading` opens a file or folder and says what lies in it; `spaces` finds out which values its pictures have, `judging`
whether its labels are the dataset's; `adopting` makes a run of it, `opening` does so for names on a command line.
"""

from fredbench.importing.adopting import adopt
from fredbench.importing.asking import Asked
from fredbench.importing.opening import found_runs

__all__ = ["Asked", "adopt", "found_runs"]
