"""Continuous-time models of an optimizer, each written once for any step map. Time is counted in optimizer steps.

A flow starts from a window of discrete states (:meth:`rodflow.flows.base.Flow.start`), moves a flat vector y along
(:meth:`advance`), and says where its centre and its rod are. The letters in formulas, and in code that follows them:

=================  ====================================================================================================
w ``[d]``          weights
m ``[d]``          first moment; ``[0]`` for an optimizer without one
nu                 second moment, ``[d]``, ``[1]`` or ``[0]``
z ``[n]``          phase-space point (w, m), or w without a first moment: n is 2d or d
s                  whole state (w, m, nu)
y                  what a flow integrates, as one flat vector (:class:`rodflow.flows.base.Layout`)
g ``[d]``          gradient of the loss L at w
q                  what nu averages: g*g by component, or the sum of that in the scalar variants
G                  increment of z over one step of the optimizer; G+ and G- at the two ends of a rod
J                  derivative of G in z
H ``[d, d]``       Hessian of L
P                  diagonal preconditioner, ``[d]`` or ``[1]``: a step is ``-lr P^-1 u``
S                  effective sharpness, the largest eigenvalue of ``lr P^-1/2 H P^-1/2``
c, a               centre and alternating part of the iterates, ``s_t = c_t + (-1)^t a_t`` (drift-free rod)
mu                 multiplier: the factor that one step puts on a mode of a quadratic
zbar ``[n]``       centre of two iterates (rod); z̄ in the code's docstrings
delta ``[n]``      half of the difference of two iterates (rod)
E ``[n]``          increment at the centre with what the rod adds to it; the mean of both ends where there is one column
O ``[n]``          image of a column: half of the difference of the increments at its ends
Sigma ``[n, n]``   covariance of the rod, d d^T + A A^T: d ``[n]`` is the drift's column, A ``[n, r]`` those of the rest
Phi                increment of a flow's own state over one step; x is its value on one mode
w*_t               centre of the discrete run at step t, ``(w_{t-1} + 2 w_t + w_{t+1}) / 4``
=================  ====================================================================================================
"""
