"""
Text, as a sparse matrix
========================

Which library does a function belong to? The documents are the docstrings of four libraries, with their
names removed. Each document is a row of some ten thousand word counts, nearly all of them 0. The network
takes the sparse matrix as it is.
"""

import inspect
import re

import matplotlib.axes
import matplotlib.pyplot as plt
import numpy as np
import scipy.signal
import scipy.stats
import sklearn.metrics
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split

import fastnn

places = {
    "numpy": (np, np.linalg, np.fft),
    "scipy": (scipy.stats, scipy.signal),
    "matplotlib": (plt, matplotlib.axes.Axes),
    "scikit-learn": (sklearn.metrics,),
}
texts, labels = [], []
for library, modules in places.items():
    found = {
        inspect.getdoc(member)
        for module in modules
        for name, member in vars(module).items()
        if callable(member) and not name.startswith("_") and len(inspect.getdoc(member) or "") > 300
    }
    for text in sorted(found):
        texts.append(re.sub(r"numpy|np|scipy|matplotlib|pyplot|plt|mpl|sklearn|scikit", " ", text.lower()))
        labels.append(library)

vectorizer = TfidfVectorizer(token_pattern=r"[a-z]{2,}", sublinear_tf=True)
X = vectorizer.fit_transform(texts)
X, X_test, y, y_test = train_test_split(X, labels, test_size=0.3, stratify=labels, random_state=0)
print(f"{X.shape[0]} documents, {X.shape[1]} words, {X.nnz / np.prod(X.shape):.2%} of the values are not 0")

classifier = fastnn.MLPClassifier((32,), learning_rate_init=0.01, max_iter=60, tol=1e-3, random_state=0).fit(
    X, y
)
ConfusionMatrixDisplay.from_estimator(classifier, X_test, y_test, cmap="Blues", colorbar=False)
plt.title(f"{classifier.score(X_test, y_test):.1%} of the unseen docstrings are assigned correctly")
plt.show()

# %%
# The words that speak most for each library: a document of one word, and the score that the network gives
# it.

words = vectorizer.get_feature_names_out()
scores = classifier.decision_function(scipy.sparse.identity(len(words), format="csr"))
for k, library in enumerate(classifier.classes_):
    print(f"{library:>12}: {', '.join(words[scores[:, k].argsort()[-8:][::-1]])}")
