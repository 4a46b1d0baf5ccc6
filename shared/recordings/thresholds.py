"""Similarity thresholds, chosen with ``--recordings even`` on real data and evaluated with ``--recordings odd``."""

THRESHOLD = 0.5  # minimum correlation of near-duplicates; half-overlapping clips reach 0.8, unrelated ones rarely 0.4
DISTANCE = 0.6  # maximum 1 - cosine within a group; set high, because a recording divided between groups leaks
