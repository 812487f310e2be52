"""The lake: images of handwritten digits."""

from ml_platform.components.sources import source_assets
from ml_platform.sources.digits import IMAGES

lake = source_assets([IMAGES], owners=["team:post-office"])
