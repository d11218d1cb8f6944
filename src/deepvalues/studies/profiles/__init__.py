"""Study 3, value-priority profiles; `fidelity` is public API.

The instrument and the metric are our own, reconstructed from an abstract.
"""

from deepvalues.studies.profiles.analysis.measures import fidelity

__all__ = ["fidelity"]
