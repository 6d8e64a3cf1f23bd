"""Reads SavedModels and judges their operations without TensorFlow: nothing here runs a model."""
