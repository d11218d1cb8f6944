"""Study 3, value-priority profiles: instrument, open text, human reference, fidelity and its statistics.

Instrument and metric are this project's own, reconstructed from an abstract.
"""

from deepvalues.studies.profiles.analysis.measures import fidelity

__all__ = ["fidelity"]
