"""Recorded walks in the formats of other projects: LeRobot data sets, Parquet episodes, StreamVLN folders.

Invariant: what comes in is checked before it is believed, and refused with the file, the row and the reason; what
a format has no place for is left out and listed, never made up.
"""
