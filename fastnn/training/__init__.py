"""One training: the loop over chunks of epochs, its history and callbacks, L-BFGS, the gradient check."""
