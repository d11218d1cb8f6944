"""Statistics of study 3: profiles, their fidelity, stability and structure."""
