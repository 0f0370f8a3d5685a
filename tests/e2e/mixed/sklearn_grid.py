"""A scikit-learn pipeline with a transformer of one's own and a grid search there; looking at the results here."""

from __future__ import annotations

from typing import Final

NOTEBOOK: Final = """
N>
import numpy as np
import pandas as pd
import matplotlib.pyplot as plt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
np.random.seed(0)
N>
digits = load_digits()
X, y = digits.data[:300], digits.target[:300]
print(X.shape, np.bincount(y))
fig, axes = plt.subplots(1, 3, figsize=(3, 1))
for ax, image in zip(axes, digits.images):
    ax.imshow(image, cmap="gray")
    ax.axis("off")
plt.show()
N>
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y)
print(X_train[0][:8], y_test[:10])
N>
class Halves(BaseEstimator, TransformerMixin):
    calls = []

    def __init__(self, on=True):
        self.on = on

    def fit(self, X, y=None):
        Halves.calls.append(len(X))
        self.mean_ = X.mean(0)
        return self

    def transform(self, X):
        if not self.on:
            return X
        return np.hstack([X, X[:, :32].sum(1, keepdims=True), X[:, 32:].sum(1, keepdims=True)])

pipe = Pipeline([("halves", Halves()), ("scale", StandardScaler()), ("clf", LogisticRegression(max_iter=200))])
pipe
R>
pipe.fit(X_train, y_train)
print(pipe.score(X_test, y_test), Halves.calls)
N>
print(round(pipe.score(X_test, y_test), 6), pipe["clf"].coef_.shape, pipe["halves"].mean_[:4].round(3), Halves.calls)
pipe.set_params(clf__C=0.01)
R>
pipe.fit(X_train, y_train)
print(round(pipe.score(X_test, y_test), 6), pipe.get_params()["clf__C"])
R>
grid = GridSearchCV(
    pipe,
    {"halves__on": [True, False], "clf__C": [0.01, 0.1]},
    cv=StratifiedKFold(3, shuffle=True, random_state=0),
)
grid.fit(X_train, y_train)
print(grid.best_params_, round(grid.best_score_, 6))
N>
results = pd.DataFrame(grid.cv_results_)[["param_halves__on", "param_clf__C", "mean_test_score", "rank_test_score"]]
results.sort_values("rank_test_score", kind="stable", inplace=True)
results
N>
best = grid.best_estimator_
pred = best.predict(X_test)
print(accuracy_score(y_test, pred), type(best["halves"]) is Halves, len(Halves.calls))
print(confusion_matrix(y_test, pred)[:3, :3])
R>
scores = {}
for name, model in {"tree": DecisionTreeClassifier(random_state=0), "best": best}.items():
    model.fit(X_train[:100], y_train[:100])
    scores[name] = round(model.score(X_test, y_test), 4)
print(scores, np.random.rand())
N>
print(scores, best is grid.best_estimator_, np.random.rand())
scores["mean"] = sum(scores.values()) / 2
R> print(sorted(scores.items()), np.random.permutation(4))
N> print(np.random.permutation(4), grid.best_estimator_.score(X_test, y_test))
"""
