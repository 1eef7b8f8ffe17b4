"""Steps of updates that make several forward-backward passes, as LBFGS and SAM do. Every pass is a step of the clock."""

from grokbench.errors import AgentError


class Passes:
    """Steps left until the exam. An update begins only if as many are left as it can make passes.

    Steps that an update leaves over are kept for later updates.

    Attributes:
        most: the most passes of an update, as the recipe declares them.
        left: steps that no update has taken yet.
    """

    def __init__(self, most: int) -> None:
        self.most, self.left = most, 0

    @property
    def suffice(self) -> bool:
        """Whether an update can begin."""
        return self.left >= self.most

    def take(self, passes: int) -> None:
        """Charge an update that made so many passes. An update costs a step at least.

        Raises:
            AgentError: it made more passes than declared.
        """
        if passes > self.most:
            raise AgentError(
                f"an update made {passes} forward-backward passes, and passes_per_step declares {self.most}: "
                f"set passes_per_step = {passes} or more"
            )
        self.left -= max(passes, 1)
