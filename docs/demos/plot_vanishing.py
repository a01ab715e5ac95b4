"""
Vanishing signals and gradients
===============================

``fastmlp demo vanishing`` shows what ten layers make of the signal and of its gradient, by activation and initial
weights.
"""

from fastmlp.demos import Options, run

run("vanishing", Options())

# %%
# The demo's code
# ---------------
#
# .. literalinclude:: /../fastmlp/demos/vanishing.py
