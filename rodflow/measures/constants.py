"""The constants that the numbers of a run are defined by."""

EDGE = 0.9
"""A run is in its edge window where its effective sharpness is at least this share of the threshold."""
BEFORE_EDGE = 0.8
"""Below this share of the threshold a record counts as before the edge."""
NEARER = 5.0
"""Before the edge a flow of second order is at least so many times nearer to the run than the stable flow, or something
is wrong with it.
"""
ONSET = 0.1
"""The oscillation has set in where its part along the sharpest direction first exceeds this share of its largest."""
STUDY_ONSET = 0.01
"""In a precision study: where it first exceeds this share of the largest oscillation of any variant."""
NEAR = 0.05
"""A flow's sharpness is the run's where their medians in the edge window differ by at most this share."""
LATE = 0.1
"""A flow's onset is the run's where it is at most this share of the run's away."""
FEW = 5
"""A ratio over fewer records than this says nothing of a cell: it is hatched in figures and left out of medians."""
LEAP = 1.3
"""A run whose effective sharpness goes above so many thresholds leaps, too fast for a smooth model of it."""
LEAST_SHARE = 0.4
"""A run with at least this share of its records in the edge window is there for long enough to be followed."""
