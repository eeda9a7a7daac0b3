"""As an app's own conftest does it, but for a folder: `pytest_plugins` stands in the topmost one only."""

from tallystick.testing import tallystick_network

__all__ = ["tallystick_network"]
