"""Deliberately broken transformers, written the way real people break them, and sound ones that must pass."""

from ml_platform_tests.pipeline.promises.zoo import broken, broken_rows
from ml_platform_tests.pipeline.promises.zoo.sound import SOUND
from ml_platform_tests.pipeline.promises.zoo.specimen import BROKEN

__all__ = ["BROKEN", "SOUND", "broken", "broken_rows"]
