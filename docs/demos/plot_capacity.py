"""
Too small, too large
====================

``fastmlp demo capacity`` shows networks too small and too large for noisy samples of a curve, and what helps against
overfitting.

This page runs it on a small scale: the command trains more and larger networks.
"""

from fastmlp.demos import Options, run

run("capacity", Options(quick=True))

# %%
# The demo's code
# ---------------
#
# .. literalinclude:: /../fastmlp/demos/capacity.py
