"""
Two layers by hand
==================

``fastmlp demo two-layer`` shows the first network of one's own in NumPy: its gradient checked, then trained; and its
compiled twin.

This page runs it on a small scale: the command trains for more epochs.
"""

from fastmlp.demos import Options, run

run("two-layer", Options(quick=True))

# %%
# The demo's code
# ---------------
#
# .. literalinclude:: /../fastmlp/demos/two_layer.py
