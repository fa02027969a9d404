"""
A network that solves an equation
=================================

No sample is given, only an equation: a damped oscillator, ``u'' + 0.2 u' + u = 0``, with ``u(0) = 1`` and
``u'(0) = 0``. The loss is the mean square of the equation's residual. The derivatives by the time are
differences of the scores at five neighbouring times, so that the residual is linear in the scores and its
gradient one product. SciPy's L-BFGS-B moves the parameters.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

import fastnn

n, h = 200, 0.02
times = np.linspace(0, 10, n)
first = np.array([1, -8, 0, 8, -1]) / (12 * h)
second = np.array([-1, 16, -30, 16, -1]) / (12 * h * h)
equation = second + 0.2 * first + np.array([0, 0, 1, 0, 0])
moved = h * np.arange(-2, 3)[:, None]
X = np.concatenate([(times + moved).ravel(), moved.ravel()])[:, None] / 5 - 1

model = fastnn.Model(
    [1, 32, 32, 1], output_activation="identity", loss="squared_error", init="glorot_uniform", random_state=0
)
net = fastnn.Backprop(model)


def evaluate(w):
    net.parameters[:] = w
    S = net.forward(X)[:, 0]
    U, start = S[: 5 * n].reshape(5, n), S[5 * n :]
    residual, position, velocity = equation @ U, start[2] - 1, first @ start
    dS = np.concatenate([(2 / n * equation[:, None] * residual).ravel(), 200 * velocity * first])
    dS[5 * n + 2] += 200 * position
    net.backward(dS[:, None], inputs=False)
    return residual @ residual / n + 100 * (position**2 + velocity**2), net.gradient.copy()


options = {"maxiter": 1500, "maxfun": 2000, "ftol": 0, "gtol": 0, "maxcor": 50}
net.parameters[:] = minimize(evaluate, net.parameters.copy(), jac=True, method="L-BFGS-B", options=options).x

# %%
# The exact solution is a cosine whose amplitude decays.
w = np.sqrt(1 - 0.1**2)
exact = np.exp(-0.1 * times) * (np.cos(w * times) + 0.1 / w * np.sin(w * times))
found = model.predict(times[:, None] / 5 - 1)[:, 0]

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
left.plot(times, exact, color="0.75", linewidth=5, label="exact")
left.plot(times, found, label="the network")
left.set(xlabel="time", ylabel="u")
left.legend()
right.semilogy(times, np.abs(found - exact))
right.set(xlabel="time", ylabel="error")
plt.show()
