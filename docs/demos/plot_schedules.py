"""
Schedules of the learning rate
==============================

``fastmlp demo schedules`` shows the learning rate of every schedule in the course of a training.
"""

from fastmlp.demos import Options, run

run("schedules", Options())

# %%
# The demo's code
# ---------------
#
# .. literalinclude:: /../fastmlp/demos/schedules.py
