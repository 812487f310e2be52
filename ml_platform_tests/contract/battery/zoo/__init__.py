"""Deliberately broken transformers, written the way real people break them, and sound ones that must pass."""

from ml_platform_tests.contract.battery.zoo import broken, broken_rows
from ml_platform_tests.contract.battery.zoo.sound import SOUND
from ml_platform_tests.contract.battery.zoo.specimen import BROKEN

__all__ = ["BROKEN", "SOUND", "broken", "broken_rows"]
