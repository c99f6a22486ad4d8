"""The settings that the published systems were run with: a table by objective, storage, dataset and budget, no code.

The companion of `methods`, which names the systems. Every value says where it comes from (see `settings`).
"""

from fredbench.recipes.matching import iterations_of, matching_settings, network_of, quick_iterations_of
from fredbench.recipes.settings import Origin, Setting, Settings
from fredbench.recipes.storage import label_settings, storage_settings
from fredbench.recipes.students import student_settings

__all__ = [
    "Origin",
    "Setting",
    "Settings",
    "iterations_of",
    "label_settings",
    "matching_settings",
    "network_of",
    "quick_iterations_of",
    "storage_settings",
    "student_settings",
]
