"""What every parameterization and every objective promises, as checks: ours pass them, and so should a plug-in's.

    from fredbench.testing import check_objective, check_pair, check_parameterization

    def test_my_storage_keeps_its_promises():
        check_parameterization("my-storage")

Parts are named as they are registered. A check runs on real pictures at a small size, in moments, touches no global
random generator and raises `CheckFailedError`, which says which promise is broken and how to mend it.
"""

from fredbench.testing.common import small_digits
from fredbench.testing.matching import check_objective, check_pair
from fredbench.testing.storage import PARAMETERIZATION_CHECKS, Subject, check_parameterization

__all__ = [
    "PARAMETERIZATION_CHECKS",
    "Subject",
    "check_objective",
    "check_pair",
    "check_parameterization",
    "small_digits",
]
