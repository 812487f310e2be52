"""Deliberately broken transformers, written the way real people break them, and sound ones that must pass."""

from ml_platform_tests.pipeline.promises.zoo.broken import BROKEN
from ml_platform_tests.pipeline.promises.zoo.sound import SOUND

__all__ = ["BROKEN", "SOUND"]
