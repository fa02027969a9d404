"""
Eight schedules of the learning rate
====================================

A schedule multiplies the learning rate by a factor at every step: long steps at first, to find a valley,
short ones in the end, to settle in it. All schedules there are, with their defaults, and a training with
each.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastnn
from fastnn.schedules import SCHEDULES

n_steps = 1000
figure, axes = plt.subplots(2, 4, figsize=(9, 4), sharex=True, sharey=True)
for ax in axes.flat[len(SCHEDULES) :]:
    ax.set_axis_off()
for ax, (name, schedule) in zip(axes.flat, SCHEDULES.items(), strict=False):
    ax.plot(schedule().factors(np.arange(n_steps), n_steps))
    ax.set(title=name)
figure.supxlabel("step")
figure.supylabel("factor")
plt.show()

# %%
# Digits, minibatches of 5, and a rate that is too high to settle: with the constant rate the loss jumps
# about until the end. Whoever lowers the rate in time gets a lower loss.

X, y = load_digits(return_X_y=True)
plt.figure(figsize=(6, 3.6))
for name in ("constant", "step_decay", "cosine_decay", "one_cycle"):
    model = fastnn.Model([64, 16, 10], output_activation="identity", init="glorot_uniform", random_state=0)
    history = model.train(
        X / 16,
        y,
        num_passes=40,
        epsilon=1.0,
        reg_lambda=0,
        batch_size=5,
        schedule=name,
        reduction="mean",
        random_state=0,
    )
    plt.semilogy(history.loss, label=name)
plt.gca().set(xlabel="epoch", ylabel="loss")
plt.legend()
plt.show()
