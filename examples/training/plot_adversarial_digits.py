"""
Digits that fool the network
============================

The derivatives of the loss by the pixels say how an image must change for the network to fail. A step of
the same small size for every pixel, in the direction of the derivatives' signs, is enough (Goodfellow et
al., "Explaining and harnessing adversarial examples", 2015). ``fastnn.Backprop`` returns these derivatives;
a frozen one is the network that predicts.
"""

# sphinx_gallery_thumbnail_panels = [1, 2]
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastnn

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X / 16, y, random_state=0)
model = fastnn.Model(
    [64, 64, 10], activation="relu", output_activation="identity", init="he_normal", random_state=0
)
model.train(
    X,
    y,
    num_passes=50,
    epsilon=1e-3,
    reg_lambda=0,
    batch_size=32,
    optimizer="adam",
    reduction="mean",
    random_state=0,
)

# %%
# The derivative of the cross-entropy by the scores is the vector of probabilities, less 1 for the true class.
net = fastnn.Backprop(model, frozen=True)
E = np.exp(net.forward(X_test))
dX = net.backward(E / E.sum(axis=1, keepdims=True) - np.eye(10)[y_test], parameters=False)

sizes = np.linspace(0, 0.3, 13)
accuracy = [(model.predict(X_test + size * np.sign(dX)) == y_test).mean() for size in sizes]

change = 0.1 * np.sign(dX)
k = np.argmax((model.predict(X_test) == y_test) & (model.predict(X_test + change) != y_test))
figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), width_ratios=[1, 1, 1, 2], layout="constrained")
images = {"an image": X_test[k], "the change": change[k], "their sum": X_test[k] + change[k]}
for ax, (title, image) in zip(axes, images.items(), strict=False):
    read = "" if title == "the change" else f", read as {model.predict(image[None])[0]}"
    ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=-0.1, vmax=1.1)
    ax.set(title=title + read, xticks=[], yticks=[])
axes[3].plot(sizes, accuracy)
axes[3].set(xlabel="change of every pixel", ylabel="accuracy", ylim=(0, 1))
plt.show()
