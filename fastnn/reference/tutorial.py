"""The tutorial's network and its training loop, in plain NumPy: the place to start reading.

The tutorial is Denny Britz's "Implementing a Neural Network from Scratch in Python" (WildML, 2015). The
network here may have any number of layers. Read `TutorialModel.forward`, then `backward`, which goes through
the same operations in reverse order, then `train`, which repeats the two. The operations are in other files:
the gates in ``gate.py``, tanh in ``layer.py``, softmax in ``output.py``. `fastnn.Model` computes the same
numbers, faster.

Shapes: X (n, n_in), a sample per row; y (n,), labels 0 .. k-1; W (n_in, n_out); b (1, n_out); scores S (n,
k). ``dA`` is the derivative of the loss L by A and has A's shape.

Examples
--------
>>> import numpy as np
>>> from sklearn.datasets import make_moons
>>> from fastnn.reference.tutorial import TutorialModel
>>> np.random.seed(0)
>>> X, y = make_moons(200, noise=0.20)
>>> model = TutorialModel([2, 3, 2])
>>> model.train(X, y, num_passes=5001, epsilon=0.01, reg_lambda=0.01, print_loss=True)  # doctest: +ELLIPSIS
Loss after iteration 0: 0.700172
Loss after iteration 1000: ...
Loss after iteration 5000: 0.1609...
>>> float((model.predict(X) == y).mean())
0.985
"""

import itertools

import numpy as np

from .gate import AddGate, MultiplyGate
from .layer import Tanh
from .output import Softmax

multiply, add, tanh, softmax = MultiplyGate(), AddGate(), Tanh(), Softmax()


class TutorialModel:
    """A network in which every layer, including the last, computes ``tanh(X W + b)``; softmax follows.

    Parameters
    ----------
    layers_dim : sequence of int
        Number of inputs, number of units of each hidden layer, and number of classes, such as ``[2, 3, 2]``.

    Attributes
    ----------
    W : list of array (n_in, n_out)
        Weights of the layers, float64, initially drawn from NumPy's global generator.
    b : list of array (1, n_out)
        Biases of the layers, float64, initially drawn from the same generator.

    Examples
    --------
    >>> import numpy as np
    >>> np.random.seed(0)
    >>> model = TutorialModel([1, 2])
    >>> X, y = np.array([[-1.0], [1.0]]), np.array([0, 1])
    >>> model.train(X, y, num_passes=1000)
    >>> model.predict(X)
    array([0, 1])
    """

    def __init__(self, layers_dim):
        self.W, self.b = [], []
        for n_in, n_out in itertools.pairwise(layers_dim):
            # A sum of n_in products grows like sqrt(n_in), and tanh saturates for large sums: divide by the
            # root.
            self.W.append(np.random.randn(n_in, n_out) / np.sqrt(n_in))
            self.b.append(np.random.randn(1, n_out))

    def forward(self, X):
        """Return the scores (n, k) of the samples X, and a tuple (X, XW, Z) per layer for `backward`."""
        layers = []
        for W, b in zip(self.W, self.b, strict=True):
            XW = multiply.forward(W, X)
            Z = add.forward(XW, b)  # Z = X W + b
            layers.append((X, XW, Z))
            X = tanh.forward(Z)  # A = tanh(Z), the X of the next layer
        return X, layers

    def backward(self, scores, layers, y):
        """Return the derivatives dW and db of the loss, summed over the samples; lists in the order of W."""
        dW, db = [], []
        # P = softmax(S) and L = -sum of log P[i, y[i]]: dS = P - Y, where Y is 1 at each label, else 0.
        dA = softmax.diff(scores, y)
        for W, b, (X, XW, Z) in zip(self.W[::-1], self.b[::-1], layers[::-1], strict=True):
            # A = tanh(Z): dZ = (1 - tanh(Z)^2) * dA
            dZ = tanh.backward(Z, dA)
            # Z = XW + b: db = the sum of dZ over the samples, dXW = dZ
            db_layer, dXW = add.backward(XW, b, dZ)
            # XW = X times W: dW = X^T dXW and dX = dXW W^T; X is the output A of the previous layer
            dW_layer, dA = multiply.backward(W, X, dXW)
            dW.append(dW_layer)
            db.append(db_layer)
        return dW[::-1], db[::-1]  # from the first layer to the last

    def train(self, X, y, num_passes=20000, epsilon=0.01, reg_lambda=0.01, print_loss=False):
        """Minimise ``L + reg_lambda / 2 * sum of W^2`` by gradient descent from the present parameters.

        L is the loss summed over the samples, not averaged. Each of the `num_passes` epochs is one step on
        all samples with the learning rate `epsilon`. If `print_loss`, the mean loss is printed after epoch 0
        and every 1000th epoch from there on.
        """
        for i in range(num_passes):
            scores, layers = self.forward(X)
            dW, db = self.backward(scores, layers, y)
            for layer in range(len(self.W)):
                self.W[layer] -= epsilon * (dW[layer] + reg_lambda * self.W[layer])
                self.b[layer] -= epsilon * db[layer]
            if print_loss and i % 1000 == 0:
                print(f"Loss after iteration {i}: {self.calculate_loss(X, y):f}")

    def calculate_loss(self, X, y):
        """Return the mean of ``-log p[label]`` over the samples, without the penalty on the weights."""
        scores, _ = self.forward(X)
        return softmax.loss(scores, y)

    def predict(self, X):
        """Return the predicted labels (n,): the class of the highest score of each sample."""
        scores, _ = self.forward(X)
        return np.argmax(scores, axis=1)
