"""The six ImageNet subsets: check what lies below the data folder, pack it at 128 x 128 if asked.

ImageNet cannot be fetched. Bring one of these below the data folder (see docs/datasets.md):
imagenet/train/<wnid>/*.JPEG with imagenet/val/<wnid>/*.JPEG, Kaggle's ILSVRC/Data/CLS-LOC with
LOC_val_solution.csv above it, or fastai's imagenette2 / imagewoof2. Packed at 128 x 128, a picture takes
about 23 KB and no photograph has to be decoded and resized again.

    python data_scripts/imagenet_subsets.py --data ./datasets
    python data_scripts/imagenet_subsets.py imagenette imagewoof --data ./datasets --pack ./packed
"""

from __future__ import annotations

import sys

from _prepare import prepare

SUBSETS = ["imagenette", "imagewoof", "imagefruit", "imageyellow", "imagemeow", "imagesquawk"]

if __name__ == "__main__":
    sys.exit(prepare(SUBSETS, __doc__))
