"""CIFAR-10 and CIFAR-100: fetch the official archives (170 and 169 MB), check them, pack them if asked.

python data_scripts/cifar.py
python data_scripts/cifar.py cifar10 --data ./datasets --pack ./packed
"""

from __future__ import annotations

import sys

from _prepare import prepare

if __name__ == "__main__":
    sys.exit(prepare(["cifar10", "cifar100"], __doc__))
