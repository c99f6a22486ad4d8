"""A synset as an image dataset of the Hugging Face Hub: Parquet of PNGs and labels, and a card that says what it is.

`data/train-00000-of-00001.parquet` has the columns `image` (struct of bytes and path) and `label` (class number), and
`soft_label` (a number a class) where the set has soft ones; `label` is then the largest of each row. The schema's
metadata key `huggingface` and the card's front matter both name the classes; the key `fredbench` says how the set was
made and how its students are trained.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fredbench.foundation.arrow import parquet
from fredbench.runs.synset import Synset

__all__ = ["FILE", "write_hub"]

FILE = Path("data") / "train-00000-of-00001.parquet"
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def png(picture: Any) -> Image.Image:
    """A picture (h, w, c) of uint8 as Pillow's, grey where it has one channel."""
    return Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else np.ascontiguousarray(picture))


def write_hub(synset: Synset, folder: Path, description: str, loss: str) -> None:
    """Write the table and the card into `folder`. description: JSON for the file. loss: what 8 bits lose, in words."""
    arrow, pq = parquet()
    pixels = synset.pixels().numpy().transpose(0, 2, 3, 1)
    labels = synset.labels
    soft = labels.ndim == 2
    rows = []
    for number, picture in enumerate(pixels):
        stream = io.BytesIO()
        png(picture).save(stream, "PNG")
        rows.append({"bytes": stream.getvalue(), "path": f"{number:05d}.png"})
    hard = (labels.argmax(1) if soft else labels).tolist()
    image = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    columns = {"image": arrow.array(rows, type=image), "label": arrow.array(hard, type=arrow.int64())}
    if soft:
        columns["soft_label"] = arrow.array(labels.float().tolist(), type=arrow.list_(arrow.float32()))
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(synset.classes), "_type": "ClassLabel"},
        **({"soft_label": {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "List"}} if soft else {}),
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}}), "fredbench": description}
    table = arrow.table(columns).replace_schema_metadata(metadata)
    file = folder / FILE
    file.parent.mkdir(parents=True)
    pq.write_table(table, file)
    (folder / "README.md").write_text(_card(synset, file.stat().st_size, table.nbytes, loss), encoding="utf-8")


def _card(synset: Synset, stored: int, unpacked: int, loss: str) -> str:
    """The dataset card: front matter as the Hub reads it, then what the set is and how it is loaded."""
    count = len(synset.labels)
    size = next((name for most, name in _SIZES if count < most), "n>1M")
    # Every name is quoted: YAML takes a bare no, 1 or null for something else than a word.
    names = "\n".join(f"          '{label}': {json.dumps(name)}" for label, name in enumerate(synset.classes))
    soft = "\n  - name: soft_label\n    list: float32" if synset.labels.ndim == 2 else ""
    return f"""---
task_categories:
- image-classification
size_categories:
- {size}
tags:
- dataset-distillation
- fredbench
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
{names}{soft}
  splits:
  - name: train
    num_bytes: {unpacked}
    num_examples: {count}
  download_size: {stored}
  dataset_size: {unpacked}
---

{synset.card()}
## Pictures of 8 bits

{loss}

```python
from datasets import load_dataset
pictures = load_dataset("FOLDER", split="train")  # this folder, or its name on the Hub
```
"""
