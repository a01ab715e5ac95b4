"""
A deep network
==============

``fastmlp demo deep-mnist`` shows a deep network of tanh with squared errors, from two initializers, and its modern
form.

This page runs it on a small scale: the command trains for thirty epochs, and on MNIST where it finds the files.
"""

from fastmlp.demos import Options, run

run("deep-mnist", Options(epochs=8))

# %%
# The demo's code
# ---------------
#
# .. literalinclude:: /../fastmlp/demos/deep_mnist.py
