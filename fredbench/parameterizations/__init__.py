"""What is stored, and how it becomes pictures. One file a parameterization; none knows of losses."""

from fredbench.foundation.registry import Registry
from fredbench.parameterizations.base import Auxiliary, Parameterization, State, StoredRole
from fredbench.parameterizations.labels import LabelConfig, labelled

__all__ = ["PARAMETERIZATIONS", "Auxiliary", "LabelConfig", "Parameterization", "State", "StoredRole", "labelled"]

PARAMETERIZATIONS: Registry[type[Parameterization]] = Registry("parameterization")
PARAMETERIZATIONS.register(
    "pixels", "fredbench.parameterizations.pixels:Pixels", summary="whole pictures, one scalar a value"
)
PARAMETERIZATIONS.register(
    "fred",
    "fredbench.parameterizations.frequency:FreD",
    summary="k frequency coefficients a channel, chosen per class by explained variance (FreD)",
)
PARAMETERIZATIONS.register(
    "idc",
    "fredbench.parameterizations.multiformation:MultiFormation",
    summary="canvases whose tiles are enlarged, several pictures in the place of one (IDC)",
)
PARAMETERIZATIONS.register(
    "haba",
    "fredbench.parameterizations.hallucinator:Hallucination",
    summary="bases, each shown by every one of a few learned maps that all classes share (HaBa)",
)
PARAMETERIZATIONS.register(
    "ddif",
    "fredbench.parameterizations.fields:NeuralFields",
    summary="a small network of sines a picture, from coordinates to colours; decodes at any resolution (DDiF)",
)
PARAMETERIZATIONS.register(
    "gsdd",
    "fredbench.parameterizations.splats:GaussianSplats",
    summary="sums of Gaussians of two dimensions in bfloat16, 18 bytes each in colour (GSDD)",
)
