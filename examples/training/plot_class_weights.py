"""
Class weights for a rare class
==============================

Twenty samples of one class among four hundred of the other. A classifier that always says "blue" is right
in 95 of 100 cases, and useless. ``class_weight="balanced"`` gives both classes the same total weight: the
boundary moves, and the recall of the rare class (how many of its samples are found) rises, at the price of
some false alarms.
"""

# sphinx_gallery_thumbnail_panels = [1, 2]
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import recall_score

import fastnn

random = np.random.default_rng(0)
X = np.concatenate([random.normal(0, 1, (400, 2)), random.normal((1.6, 1.2), 0.6, (20, 2))])
y = np.repeat([0, 1], (400, 20))

figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharex=True, sharey=True)
for ax, class_weight in zip(axes, (None, "balanced"), strict=True):
    classifier = fastnn.MLPClassifier(
        (16,), class_weight=class_weight, learning_rate_init=0.02, alpha=0.1, max_iter=500, random_state=0
    )
    classifier.fit(X, y)
    fastnn.plot_decision_boundary(classifier, X, y, ax=ax)
    common, rare = recall_score(y, classifier.predict(X), average=None)
    ax.set_title(f"class_weight={class_weight}\nrecall: {common:.0%} of blue, {rare:.0%} of orange")
plt.show()
