"""Optuna: rank 0 suggests trials, and the other ranks evaluate them.

    mpiexec -n 3 python examples/with_optuna.py

The study stays on rank 0, so it needs no database. `ask` and `tell` are called in rounds of a fixed
order, so the result does not depend on the number of ranks. If trials differ much in duration, use
`concurrent.futures.wait` instead, and ask for a new trial whenever one has ended.
"""

from bsbpool.futures import PoolExecutor

ROUNDS, TRIALS_PER_ROUND = 5, 8


def loss(parameters):
    """Return the loss of a model; in a real study this takes long."""
    return (parameters["rate"] - 0.3) ** 2 + (parameters["layers"] - 4) ** 2 / 10


def best(executor):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ranges = {
        "rate": optuna.distributions.FloatDistribution(0.0, 1.0),
        "layers": optuna.distributions.IntDistribution(1, 8),
    }
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=2))
    for _ in range(ROUNDS):
        trials = [study.ask(ranges) for _ in range(TRIALS_PER_ROUND)]
        losses = executor.map(loss, [trial.params for trial in trials])
        for trial, value in zip(trials, losses, strict=True):
            study.tell(trial, value)
    return study.best_value


if __name__ == "__main__":
    with PoolExecutor() as executor:  # on all ranks
        if executor is not None:  # on rank 0; the others have worked until here
            print(f"loss {best(executor):.9f}")
