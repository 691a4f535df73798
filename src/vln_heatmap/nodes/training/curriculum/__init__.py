"""Phases and adaptation of a training: what to learn from, with which weights, how fast, and until when."""
