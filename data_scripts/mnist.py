"""MNIST and Fashion-MNIST: fetch the four IDX files of each (12 and 31 MB), check them, pack them if asked.

python data_scripts/mnist.py
python data_scripts/mnist.py fashion-mnist --data ./datasets
"""

from __future__ import annotations

import sys

from _prepare import prepare

if __name__ == "__main__":
    sys.exit(prepare(["mnist", "fashion-mnist"], __doc__))
