"""Optuna: trials are asked for on rank 0 and tried on the others.

    mpiexec -n 3 python examples/with_optuna.py

The study stays on rank 0, so it needs no database. Trials are asked for and told in rounds, whose
order makes the outcome the same on any number of ranks. To keep all ranks busy with trials of very
different lengths, tell each when it ends (`concurrent.futures.wait`) and ask for the next.
"""

from bsbpool.futures import PoolExecutor

ROUNDS, A_ROUND = 5, 8


def loss(parameters):
    """How badly a model does; what takes long in earnest."""
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
        trials = [study.ask(ranges) for _ in range(A_ROUND)]
        losses = executor.map(loss, [trial.params for trial in trials])
        for trial, value in zip(trials, losses, strict=True):
            study.tell(trial, value)
    return study.best_value


if __name__ == "__main__":
    with PoolExecutor() as executor:  # on all ranks
        if executor is not None:  # on rank 0; the others have worked until here
            print(f"loss {best(executor):.9f}")
