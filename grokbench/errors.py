"""Every error that grokbench raises on purpose. Each message says what was wrong, what was expected and what to do.

* GrokbenchError
  x TaskError           an id, a suite, a seed or a salt names no task or instance (a ValueError)
  x ActionError         an action has wrong keys, shapes, dtypes or values (a ValueError)
  x RankError           features or a covariance have a shape that no rank is measured of (a ValueError)
  x ProtocolError       exams aren't those that the protocol asks for (a ValueError)
  x AgentError          an agent can't be made, or reports what it can't (a ValueError)
    + RecipeError       a recipe can't be found, read or built from its hyperparameters
    + FaultyAgentError  an agent's own code failed while it was made
  x RecordError         a file isn't a run record (a ValueError)
  x CheckpointError     a file isn't a usable checkpoint (a ValueError)
  x StoreError          a folder of runs can't be written (an OSError)
  x CallbackError       a callback failed, or a logger can't start (a RuntimeError)
  x WorkerError         worker processes can't be started as asked (a ValueError)
  x ResultError         runs that no number can be computed from, or no figure drawn of (a ValueError)
  x CurveError          a curve or a fit has values that can't be analyzed (a ValueError)
  x SweepError          a sweep's axes or values name nothing that can be varied (a ValueError)
  x TuningError         a tuning's space isn't that of the protocol, or it isn't finished (a ValueError)
  x StudyError          no study has this name, or its runs can't be compared (a ValueError)
  x MarkdownError       a Markdown file lacks the marks of a generated section (a ValueError)
  x MissingExtraError   an optional dependency isn't installed (a ValueError)
  x EntryError          a leaderboard entry can't be packed, found or read (a ValueError)
  x HubError            the Hugging Face Hub refuses, or can't be reached (an OSError)
  x VerificationError   an entry can't be re-executed here (a ValueError)
  x RemoteError         the process of an entry's agent failed, took too long or sent nonsense (a RuntimeError)
"""


def install(extra: str) -> str:
    """How to add an optional dependency, for messages. From the checkout, because grokbench isn't on PyPI."""
    return f"`pip install -e '.[{extra}]'` in the checkout of grokbench"


class GrokbenchError(Exception):
    """The root of all errors that grokbench raises on purpose."""


class TaskError(GrokbenchError, ValueError):
    """An id, a suite, a seed or a salt names no task or instance."""


class ActionError(GrokbenchError, ValueError):
    """An action has wrong keys, shapes, dtypes or values; nothing has changed."""


class RankError(GrokbenchError, ValueError):
    """Features or a covariance have a shape that no rank is measured of."""


class ProtocolError(GrokbenchError, ValueError):
    """Exams aren't those that the protocol asks for."""


class AgentError(GrokbenchError, ValueError):
    """An agent can't be made, or reports what it can't."""


class RecipeError(AgentError):
    """A recipe can't be found, read, or built from its hyperparameters."""


class FaultyAgentError(AgentError):
    """An agent's own code failed while it was made; the message has its line."""


class RecordError(GrokbenchError, ValueError):
    """A file isn't a run record; the message names the file and what is wrong."""


class CheckpointError(GrokbenchError, ValueError):
    """A file isn't a usable checkpoint; the message names the file and what is wrong."""


class StoreError(GrokbenchError, OSError):
    """A folder of runs can't be written; the message says why and what to do."""


class CallbackError(GrokbenchError, RuntimeError):
    """A callback failed, or a logger can't start. Finished runs are safe, and the same command goes on."""


class WorkerError(GrokbenchError, ValueError):
    """Worker processes can't be started as asked; the message says why."""


class ResultError(GrokbenchError, ValueError):
    """Runs that no number can be computed from, or no figure drawn of."""


class CurveError(GrokbenchError, ValueError):
    """A curve or a fit has values that can't be analyzed."""


class MarkdownError(GrokbenchError, ValueError):
    """A Markdown file lacks the marks of a generated section."""


class MissingExtraError(GrokbenchError, ValueError):
    """An optional dependency isn't installed; the message has the command that installs it."""


class EntryError(GrokbenchError, ValueError):
    """A leaderboard entry can't be packed, found or read."""


class HubError(GrokbenchError, OSError):
    """The Hugging Face Hub refuses, or can't be reached; the message says what is kept and what to do."""


class VerificationError(GrokbenchError, ValueError):
    """An entry can't be re-executed here; nothing was held against it."""


class RemoteError(GrokbenchError, RuntimeError):
    """The process of an entry's agent failed, took too long, or sent nonsense."""


class SweepError(GrokbenchError, ValueError):
    """A sweep's axes or values name nothing that can be varied; nothing has run."""


class TuningError(GrokbenchError, ValueError):
    """A tuning's space isn't that of the protocol, or it isn't finished."""


class StudyError(GrokbenchError, ValueError):
    """No study has this name, or its runs can't be compared."""
