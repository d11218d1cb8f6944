"""Statistics of study 3: profiles and their fidelity, stability and structure."""
