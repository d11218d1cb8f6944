"""Study 2: social value orientation and value rationality.

Scripts can rely on `score`.
"""

from deepvalues.svo.scoring import score

__all__ = ["score"]
