"""What learns, and how an agent is found: the interface, recipes, and trees of arrays as bytes."""

from grokbench.agents.agent import Agent, Spec
from grokbench.agents.recipes import Recipe, find_recipe, recipe, recipe_names

__all__ = ["Agent", "Recipe", "Spec", "find_recipe", "recipe", "recipe_names"]
