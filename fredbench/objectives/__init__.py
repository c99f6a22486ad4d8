"""What is matched between real and synthetic pictures. One file an objective; none knows how pictures are stored."""

from fredbench.objectives.base import Context, ExpertSource, Objective, Synthetic, Trajectories, Update
from fredbench.registry import Registry

__all__ = ["OBJECTIVES", "Context", "ExpertSource", "Objective", "Synthetic", "Trajectories", "Update"]

OBJECTIVES: Registry[type[Objective]] = Registry("objective")
OBJECTIVES.register("dm", "fredbench.objectives.distribution:DistributionMatching", summary="mean embeddings (DM)")
OBJECTIVES.register(
    "tm", "fredbench.objectives.trajectory:TrajectoryMatching", summary="trajectories of experts' weights (TM, MTT)"
)
