"""Plans of experiments that train together."""

from grokbench.agents.recipes import find_recipe, recipe
from grokbench.runs.plan import Experiment
from grokbench.sweeps.joint import joint_plans
from grokbench.tasks import parse_id

MLP = find_recipe("mlp")
ADD, MUL = parse_id("add_mod7-0.5"), parse_id("mul_mod7-0.5")


def test_what_shares_task_salt_seeds_and_shapes_trains_together() -> None:
    """Experiments that differ in one of these have plans of their own, in the order of the experiments."""
    seeds: dict[Experiment, tuple[int, ...]] = {
        Experiment(ADD, MLP, ""): (0, 1),
        Experiment(ADD, recipe("mlp", network={"hidden": [16]}), ""): (0, 1),
        Experiment(MUL, MLP, ""): (0, 1),
        Experiment(ADD, MLP, "salt"): (0, 1),
        Experiment(ADD, recipe("mlp", optimizer={"lr": 1e-4}), ""): (0,),
    }
    more_decay = Experiment(ADD, recipe("mlp", optimizer={"weight_decay": 10.0}), "")
    plans = {plan.experiments: plan.seeds for plan in joint_plans({**seeds, more_decay: (0, 1)})}
    first, *others = seeds
    expected: dict[tuple[Experiment, ...], tuple[int, ...]] = {(each,): seeds[each] for each in others}
    assert plans == {(first, more_decay): (0, 1)} | expected


def test_a_study_and_a_search_can_mix_agents() -> None:
    """Only members of the same kind train together."""
    experiments = [Experiment(ADD, find_recipe(name), "") for name in ("mlp", "transformer")]
    assert [plan.experiments for plan in joint_plans(dict.fromkeys(experiments, (0,)))] == [(each,) for each in experiments]
