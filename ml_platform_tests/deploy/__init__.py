"""Tests of what operators install."""
