"""The loss of all weights with its derivatives, its effective sharpness, and the discrete run."""
