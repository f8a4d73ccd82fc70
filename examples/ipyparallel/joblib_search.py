"""A grid search of scikit-learn whose fits run on engines, by a backend of joblib.

    mpiexec -n 4 python -m bsbpool.run examples/ipyparallel/joblib_search.py

The program also runs with ``import ipyparallel as ipp``.
"""

import joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

import bsbpool.integrations.ipyparallel as ipp


def main():
    data, labels = load_digits(return_X_y=True)
    data, labels = data[:600] / 16, labels[:600]
    grid = {"C": [0.5, 1.0, 5.0], "gamma": [0.02, 0.1, 0.5]}
    with ipp.Cluster(n=3) as rc:
        view = rc.load_balanced_view()
        view.register_joblib_backend()
        with joblib.parallel_backend("ipyparallel"):
            calls = joblib.Parallel(n_jobs=-1)(joblib.delayed(pow)(n, 3) for n in range(20))
            search = GridSearchCV(SVC(), grid, cv=3, n_jobs=-1).fit(data, labels)
        tasks = len(view.history)
    print(f"sum of cubes {sum(calls)}")
    print(
        f"best: C={search.best_params_['C']}, gamma={search.best_params_['gamma']}, "
        f"score {search.best_score_:.4f}"
    )
    alone = GridSearchCV(SVC(), grid, cv=3).fit(data, labels)
    same = (alone.cv_results_["mean_test_score"] == search.cv_results_["mean_test_score"]).all()
    print(f"scores without engines: {'the same' if same else 'others'}")
    print(f"the engines ran {'some' if tasks else 'no'} tasks")


if __name__ == "__main__":
    main()
