"""Style transfer: one picture's content in another's style, by optimisation or by a network that has learned to."""
