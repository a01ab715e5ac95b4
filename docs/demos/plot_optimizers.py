"""
Paths of optimizers
===================

``fastmlp demo optimizers`` shows the paths of optimizers over two bowls, and their losses on one task and budget.
"""

from fastmlp.demos import Options, run

run("optimizers", Options())

# %%
# The demo's code
# ---------------
#
# .. literalinclude:: /../fastmlp/demos/optimizers.py
