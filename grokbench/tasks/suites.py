"""The suites, which are named lists of tasks, and the budgets of their tasks.

The measurements behind the choice are in docs/suites.md. No exam depends on this file: a record states its budget.
"""

from dataclasses import dataclass

FULL = (  # the twelve of Power et al. 2022, and mul
    "add_mod97-0.5",
    "sub_mod97-0.5",
    "div_mod97-0.5",
    "div_or_sub_mod97-0.5",
    "x2_y2_mod97-0.5",
    "x2_xy_y2_mod97-0.5",
    "x2_xy_y2_x_mod97-0.5",
    "x3_xy_mod97-0.5",
    "x3_xy2_y_mod97-0.5",
    "compose_s5-0.5",
    "conjugate_s5-0.5",
    "sandwich_s5-0.5",
    "mul_mod97-0.5",
)
MINI = ("sub_mod37-0.6", "add_mod47-0.35", "div_mod43-0.55")
CORE = (
    "sub_mod47-0.5",
    "sub_mod53-0.45",
    "div_mod47-0.5",
    "div_mod53-0.45",
    "div_mod61-0.43",
    "add_mod59-0.3",
    "mul_mod53-0.35",
)
HARD = (  # what tuned AdamW fails
    "sub_mod47-0.4",
    "div_or_sub_mod47-0.7",
    "x2_xy_y2_mod47-0.7",
    "x3_xy_mod47-0.75",
    "compose_s5-0.3",
)
OTHERS = ("add_mod97-0.3",)  # standard tasks of no suite: the table that everyone knows
DEEP = ("mnist5k-n500", "mnist5k-n1000")
TUNING = ("sub_mod31-0.65", "sub_mod43-0.5", "div_mod41-0.55", "add_mod41-0.4")


@dataclass(frozen=True)
class Suite:
    """A named list of scored tasks with one budget, and a control.

    Attributes:
        name: the suite's name.
        about: what the suite is for.
        tasks: the names of the scored tasks, without version.
        budget: the largest step that counts as steps-to-generalize, on every scored task.
        control: the name of a task with random answers. No honest agent can pass it, and it is never scored.
        control_budget: the control's budget in steps.
        control_seeds: the seeds of the control's official runs.
    """

    name: str
    about: str
    tasks: tuple[str, ...]
    budget: int
    control: str
    control_budget: int = 2_000
    control_seeds: tuple[int, ...] = (0, 1)


SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite("mini", "minutes on two CPU cores", MINI, 5_000, "random_mod23-0.5", control_budget=500),
        Suite("core", "the leaderboard", CORE, 5_000, "random_mod23-0.5", control_budget=500),
        Suite("hard", "where AdamW failed within 2,000 steps", HARD, 20_000, "random_mod23-0.5", control_budget=500),
        Suite("full", "Power et al.'s twelve operations and mul, at 97", FULL, 100_000, "random_mod97-0.5"),
        Suite("deep", "deep networks on handwritten digits", DEEP, 20_000, "random_mnist5k-n1000"),
        Suite("tuning", "where methods are tuned, on salted instances", TUNING, 5_000, "random_mod23-0.5", control_budget=500),
    )
}

BUDGETS: dict[str, int] = {  # in steps; a task has one budget, in whatever suites it is
    **{name: suite.budget for suite in SUITES.values() for name in suite.tasks},
    **{suite.control: suite.control_budget for suite in SUITES.values()},
}


def standard_names() -> list[str]:
    """The names, without version, of the tasks and controls of all suites and of the other standard tasks, once each."""
    in_suites = (name for suite in SUITES.values() for name in (*suite.tasks, suite.control))
    return list(dict.fromkeys((*in_suites, *OTHERS)))
