"""
Beside scikit-learn
===================

``fastmlp demo digits`` shows fastmlp beside scikit-learn on handwritten digits, with the same parameters and the same
seed.

This page runs it on a small scale: the command trains for up to 200 epochs; here it is three.
"""

from fastmlp.demos import Options, run

run("digits", Options(quick=True))

# %%
# The demo's code
# ---------------
#
# .. literalinclude:: /../fastmlp/demos/digits.py
