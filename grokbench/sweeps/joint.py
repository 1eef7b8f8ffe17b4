"""Settings that train together: the plans of a sweep, of a study and of a search."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from grokbench.agents.agent import Agent
from grokbench.agents.recipes import Recipe
from grokbench.errors import AgentError, FaultyAgentError, RemoteError
from grokbench.runs.plan import Experiment, Plan
from grokbench.runs.surroundings import known_surroundings
from grokbench.tasks import Task

Seeds = tuple[int, ...]


def joint_plans(seeds: Mapping[Experiment, Seeds]) -> list[Plan]:
    """The runs of some experiments, each with its seeds. Those of a task that can train as one cohort share a plan."""
    recipes: dict[tuple[Task, str, Seeds], list[Recipe]] = defaultdict(list)
    for experiment, wanted in seeds.items():
        recipes[experiment.task, experiment.salt, wanted].append(experiment.recipe)
    groups = {together: _training_together(together) for together in {tuple(each) for each in recipes.values()}}
    return [
        Plan(tuple(Experiment(task, recipe, salt) for recipe in group), wanted)
        for (task, salt, wanted), together in recipes.items()
        for group in groups[tuple(together)]
    ]


def _training_together(recipes: Sequence[Recipe]) -> list[list[Recipe]]:
    """The recipes in groups whose agents can train as one cohort."""
    groups: list[tuple[Agent | None, list[Recipe]]] = []
    with known_surroundings():
        for recipe in recipes:
            agent = _made(recipe)
            group = next((members for first, members in groups if _joins(first, agent)), None)
            if group is None:
                groups.append((agent, [recipe]))
            else:
                group.append(recipe)
    return [members for _, members in groups]


def _made(recipe: Recipe) -> Agent | None:
    """The agent, if it can be told before it runs with whom it trains."""
    try:
        return recipe.make()
    except (FaultyAgentError, RemoteError):  # its runs will say why
        return None


def _joins(first: Agent | None, agent: Agent | None) -> bool:
    if first is None or agent is None or type(first) is not type(agent) or not first.batched:
        return False
    try:
        type(first).join([first, agent])
    except AgentError:
        return False
    return True
