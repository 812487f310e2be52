"""Trains candidate models."""

from ml_platform.training.models import train_model

__all__ = ["train_model"]
