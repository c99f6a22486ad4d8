"""What is matched between real and synthetic pictures. One file an objective; none knows how pictures are stored."""

from fredbench.objectives.base import Context, Objective, Synthetic, Update
from fredbench.registry import Registry

__all__ = ["OBJECTIVES", "Context", "Objective", "Synthetic", "Update"]

OBJECTIVES: Registry[type[Objective]] = Registry("objective")
OBJECTIVES.register("dm", "fredbench.objectives.distribution:DistributionMatching", summary="mean embeddings (DM)")
OBJECTIVES.register("kip", "fredbench.objectives.kip:KernelInducingPoints", summary="regression on an NTK (KIP)")
OBJECTIVES.register("label-solve", "fredbench.objectives.kip:LabelSolve", summary="the best labels of fixed pictures")
OBJECTIVES.register("frepo", "fredbench.objectives.frepo:FRePo", summary="regression on a pool's features (FRePo)")
