"""Do language models learn people's deep values, or the surface of their choices?"""

__version__ = "1.0.0"
