"""
A computation graph
===================

``fastmlp demo graph`` shows forward and backward through a small computation graph, node by node.
"""

from fastmlp.demos import Options, run

run("graph", Options())

# %%
# The demo's code
# ---------------
#
# .. literalinclude:: /../fastmlp/demos/graph.py
