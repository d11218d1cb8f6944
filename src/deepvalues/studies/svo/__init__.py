"""Study 2: social value orientation and value rationality; `score` is public API."""

from deepvalues.studies.svo.analysis.scoring import score

__all__ = ["score"]
