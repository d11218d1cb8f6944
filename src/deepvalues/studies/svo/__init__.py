"""Study 2: social value orientation and value rationality.

Scripts can rely on `score`.
"""

from deepvalues.studies.svo.analysis.scoring import score

__all__ = ["score"]
