"""Training: the loop over chunks of epochs, history, callbacks and the gradient check."""
