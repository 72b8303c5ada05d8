"""Networks on tables of shipped packages are as good as scikit-learn's on the same split, but for chance over seeds."""

import numpy as np
import pytest

import optrun

SEEDS = 6
HIDDEN, RATE, STEPS = 16, 0.01, 150


def tables():
    """Return data frames by name, whose last column is the target: four of scikit-learn, one of statsmodels."""
    datasets = pytest.importorskip("sklearn.datasets")
    loaded = {
        name: getattr(datasets, f"load_{name}")(as_frame=True).frame
        for name in ("iris", "wine", "breast_cancer", "diabetes")
    }
    elections = pytest.importorskip("statsmodels.datasets").anes96.load_pandas().data
    loaded["elections"] = elections.drop(columns="vote").assign(vote=elections["vote"].astype(int))
    return loaded


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes", "elections"])
def test_a_table_is_learned_as_well_as_by_scikit_learn(name, tmp_path):
    networks = pytest.importorskip("sklearn.neural_network")
    frame = tables()[name]
    is_real = name == "diabetes"
    draws = np.random.default_rng(0)
    frame["part"] = np.where(draws.permutation(len(frame)) < len(frame) // 3, "test", "train")
    frame.to_csv(tmp_path / "d.csv", index=False)
    problem = {
        "name": "mlp",
        "data": str(tmp_path / "d.csv"),
        "target": frame.columns[-2],
        "split": "part",
        "task": "regression" if is_real else "classification",
        "hidden": [HIDDEN],
    }
    figure = "test_r2" if is_real else "test_accuracy"
    sweep = optrun.sweep(
        {
            "problem": problem,
            "optimizer": {"name": "Adam", "lr": RATE},
            "steps": STEPS,
            "evaluate": {"metrics": ["r2"] if is_real else []},
            "sweep": {"repeats": SEEDS},
        },
        save=False,
    )
    own = np.array([run.summary[figure] for run in sweep.runs])

    train, test = frame[frame["part"] == "train"], frame[frame["part"] == "test"]
    x, y = train.iloc[:, :-2].to_numpy(float), train.iloc[:, -2].to_numpy()
    mean, scale = x.mean(axis=0), x.std(axis=0)
    shift, unit = (y.mean(), y.std()) if is_real else (0, 1)
    new, expected = (test.iloc[:, :-2].to_numpy(float) - mean) / scale, (test.iloc[:, -2] - shift) / unit
    cls = networks.MLPRegressor if is_real else networks.MLPClassifier
    theirs = np.array(
        [
            cls(
                hidden_layer_sizes=(HIDDEN,),
                learning_rate_init=RATE,
                max_iter=STEPS,
                batch_size=len(x),
                alpha=0,
                n_iter_no_change=STEPS,
                random_state=seed,
            )
            .fit((x - mean) / scale, (y - shift) / unit if is_real else y)
            .score(new, expected)
            for seed in range(SEEDS)
        ]
    )
    error = np.sqrt((own.var(ddof=1) + theirs.var(ddof=1)) / SEEDS)
    print(name, own.mean().round(4), theirs.mean().round(4), error.round(4))
    assert own.mean() > theirs.mean() - 3 * error - 0.01
