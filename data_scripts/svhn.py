"""SVHN, cropped digits: fetch the two MATLAB files (182 and 64 MB), check them, pack them if asked.

python data_scripts/svhn.py
python data_scripts/svhn.py --data ./datasets --pack ./packed
"""

from __future__ import annotations

import sys

from _prepare import prepare

if __name__ == "__main__":
    sys.exit(prepare(["svhn"], __doc__))
