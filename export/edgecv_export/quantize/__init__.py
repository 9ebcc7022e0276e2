"""Post-training quantization on the Keras model, before any converter sees it.

Every format profits from the same work: batch norms are folded, weights are rounded to the grid they will be stored
on, and biases are corrected for what the rounding shifts.
"""
