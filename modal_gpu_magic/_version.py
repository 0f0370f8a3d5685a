"""The version, alone: no module imports the package's face for it."""

from __future__ import annotations

__version__ = "0.1.0"
