"""The reference: all formulas, including the tutorial's, in plain NumPy and without the kernels.

Start with ``tutorial.py``, the tutorial's training loop. Every other file has the same operations as the file
of the same name among the kernels; how the kernels divide a step has no counterpart here. Rows are samples,
as in the tutorial. The modules import only NumPy and call no kernel.

Two words are the tutorial's, here and in the kernels' files of these names: in ``gate.py``, a *gate*
multiplies by the weights or adds the biases; in ``layer.py``, a *layer* is an activation. Both are operation
units, whose `forward` returns the output and whose `backward` returns the derivatives of the loss. Everywhere
else, a layer is a layer of the network: weights, biases and activation.
"""
