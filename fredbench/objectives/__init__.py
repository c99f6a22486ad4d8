"""What is matched between real and synthetic pictures, or which real ones are chosen. None knows what is stored."""

from fredbench.foundation.registry import Registry
from fredbench.objectives.base import Context, ExpertSource, Objective, Synthetic, Trajectories, Update

__all__ = ["OBJECTIVES", "Context", "ExpertSource", "Objective", "Synthetic", "Trajectories", "Update"]

OBJECTIVES: Registry[type[Objective]] = Registry("objective")
OBJECTIVES.register("dm", "fredbench.objectives.distribution:DistributionMatching", summary="mean embeddings (DM)")
OBJECTIVES.register(
    "tm", "fredbench.objectives.trajectory:TrajectoryMatching", summary="trajectories of experts' weights (TM, MTT)"
)
OBJECTIVES.register(
    "dc", "fredbench.objectives.gradient:GradientMatching", summary="gradients of a network, class by class (DC)"
)
OBJECTIVES.register(
    "dsa",
    "fredbench.objectives.gradient:SiameseGradientMatching",
    summary="gradients under one augmentation shared by real and synthetic pictures (DSA)",
)
OBJECTIVES.register(
    "cafe",
    "fredbench.objectives.alignment:FeatureAlignment",
    summary="class means of every block's features, and their centres as a classifier (CAFE)",
)
OBJECTIVES.register(
    "idc",
    "fredbench.objectives.alongside:IDCMatching",
    summary="gradients of a network that learns from real pictures alongside (IDC)",
)
OBJECTIVES.register(
    "kip", "fredbench.objectives.kernel_regression:KernelInducingPoints", summary="regression on an NTK (KIP)"
)
OBJECTIVES.register(
    "label-solve", "fredbench.objectives.kernel_regression:LabelSolve", summary="the best labels of fixed pictures"
)
OBJECTIVES.register(
    "frepo", "fredbench.objectives.feature_regression:FRePo", summary="regression on a pool's features (FRePo)"
)
