"""
Stopping before the noise is learned
====================================

The loss of the training data falls and falls. The loss of data that the training does not see falls, and
then rises: from there on the network learns the noise. ``EarlyStopping`` ends the training and keeps the
best parameters.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons

import fastnn

X, y = make_moons(80, noise=0.35, random_state=3)
X_val, y_val = make_moons(400, noise=0.35, random_state=4)
settings = {"epsilon": 3e-3, "reg_lambda": 0, "optimizer": "adam", "reduction": "mean"}

figure, (curves, ax, early) = plt.subplots(1, 3, figsize=(11, 3.6), width_ratios=(1.3, 1, 1))
model = fastnn.Model([2, 50, 50, 2], output_activation="identity", init="glorot_uniform", random_state=0)
history = model.train(X, y, num_passes=1000, validation_data=(X_val, y_val), **settings)
curves.plot(history.loss, label="training")
curves.plot(history.validation_loss, label="validation")
fastnn.plot_decision_boundary(model, X, y, ax=ax)
ax.set_title(f"after 1000 epochs: {(model.predict(X_val) == y_val).mean():.1%}")

model = fastnn.Model([2, 50, 50, 2], output_activation="identity", init="glorot_uniform", random_state=0)
stopping = fastnn.EarlyStopping(patience=100)
history = model.train(X, y, num_passes=1000, validation_data=(X_val, y_val), callbacks=[stopping], **settings)
best = min(range(len(history.validation_loss)), key=history.validation_loss.__getitem__)
curves.axvline(best, color="grey", linestyle=":")
curves.set(xlabel="epoch", ylabel="loss", ylim=(0, 1.2), title="the dotted line is the best epoch")
curves.legend()
fastnn.plot_decision_boundary(model, X, y, ax=early)
early.set_title(f"stopped early: {(model.predict(X_val) == y_val).mean():.1%}")
for panel in (ax, early):
    panel.get_legend().remove()
    panel.set(xlabel="", ylabel="")
plt.show()
