"""Tables as programs export them are the samples that scikit-learn prepares, and networks learn them as its do."""

import numpy as np
import pytest

import optrun
from optrun.arrays import Arrays
from optrun.errors import ConfigError
from optrun.problems.data import drawn_parts
from optrun.problems.networks import MLP
from tests.problems.exported_tables import EXPORTED

SEEDS = 10
HIDDEN, RATE, STEPS, TEST = 16, 0.01, 150, 0.3


def by_scikit_learn(table):
    """Return the features and targets of the training and the test part, made by scikit-learn of the data frame."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    options = {**table.options, **table.mended}
    missing = options.get("missing", "median")
    x, y = table.frame.iloc[:, :-1], table.frame.iloc[:, -1].to_numpy()
    is_real = y.dtype.kind == "f" or options.get("task") == "regression"
    codes = None if is_real else np.unique(y, return_inverse=True)[1]
    rows = drawn_parts(codes, len(y), test=TEST, validation=0, seed=0, groups=table.groups)
    by = "most_frequent" if missing == "mode" else "median"
    numbers = SimpleImputer(strategy=by, add_indicator=missing == "indicator")
    words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    steps = [(name, numbers if x[name].dtype.kind in "fi" else words, [name]) for name in x]
    prepare = make_pipeline(ColumnTransformer(steps, sparse_threshold=0), StandardScaler())
    prepare.fit(x.iloc[rows["train"]])
    shift, unit = (y[rows["train"]].mean(), y[rows["train"]].std()) if is_real else (0, 1)
    return is_real, {
        part: (
            prepare.transform(x.iloc[own]),
            (y[own].astype(float) - shift) / unit if is_real else codes[own],
        )
        for part, own in rows.items()
        if len(own)
    }


def written(name, folder):
    table = EXPORTED[name]()
    path = folder / f"d{table.suffix}"
    path.write_bytes(table.content)
    return table, {"data": str(path), "hidden": [HIDDEN], "test_fraction": TEST, **table.options}


@pytest.mark.parametrize("name", EXPORTED)
def test_a_table_is_refused_with_what_mends_it_and_is_then_what_scikit_learn_prepares(name, tmp_path):
    table, options = written(name, tmp_path)
    if table.wrong:
        with pytest.raises(ConfigError) as caught:
            MLP(Arrays(dtype="float64"), **options)
        for part in table.wrong:
            assert part in str(caught.value)
    problem = MLP(Arrays(dtype="float64"), **options | table.mended)
    _, expected = by_scikit_learn(table)
    assert problem.parts.keys() == expected.keys()
    for part, (features, targets) in expected.items():
        np.testing.assert_allclose(problem.parts[part][0], features, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(np.ravel(problem.parts[part][1]), targets, rtol=1e-9, atol=1e-11)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("name", EXPORTED)
def test_a_table_is_learned_as_well_as_by_scikit_learn(name, tmp_path):
    """The medians over seeds differ by at most three standard errors, and one test sample or 0.01 of R².

    The standard error of a median of n normal values is √(π / 2) σ / √n.
    """
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    table, options = written(name, tmp_path)
    is_real, parts = by_scikit_learn(table)
    figure = "test_r2" if is_real else "test_accuracy"
    sweep = optrun.sweep(
        {
            "problem": {"name": "mlp", **options, **table.mended},
            "optimizer": {"name": "Adam", "lr": RATE},
            "steps": STEPS,
            "evaluate": {"metrics": ["r2"] if is_real else []},
            "sweep": {"repeats": SEEDS},
        },
        save=False,
    )
    own = np.array([run.summary[figure] for run in sweep.runs])
    cls = MLPRegressor if is_real else MLPClassifier
    networks = [
        cls(
            hidden_layer_sizes=(HIDDEN,),
            learning_rate_init=RATE,
            max_iter=STEPS,
            batch_size=len(parts["train"][0]),
            alpha=0,
            n_iter_no_change=STEPS,
            random_state=seed,
        )
        for seed in range(SEEDS)
    ]
    theirs = np.array([each.fit(*parts["train"]).score(*parts["test"]) for each in networks])
    error = np.sqrt(np.pi / 2 * (own.var(ddof=1) + theirs.var(ddof=1)) / SEEDS)
    least = 0.01 if is_real else 1 / len(parts["test"][0])
    print(f"{name}: {figure} {np.median(own):.4f}, {np.median(theirs):.4f} ± {error:.4f}")
    assert len(own) == SEEDS
    assert abs(np.median(own) - np.median(theirs)) <= 3 * error + least
