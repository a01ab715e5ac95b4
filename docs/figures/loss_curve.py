"""The loss of training and validation after each epoch."""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastmlp import MLPClassifier
from fastmlp.plotting import LossCurveDisplay

X, y = load_digits(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split((X / 16).astype("float32"), y, random_state=0)
model = MLPClassifier((256,), learning_rate_init=0.005, max_iter=30, tol=0, random_state=0)
model.fit(X_train, y_train, X_val=X_val, y_val=y_val)
LossCurveDisplay.from_estimator(model)
