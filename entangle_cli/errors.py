"""The errors that a person can cause and mend; everything else is a bug.

    EntangleError            exit code 2: wrong use or bad input
    ├── UsageError           the command line or entangle.toml
    ├── ModelError           a model file
    ├── DataError            a data set, its labels, its preprocessing
    ├── StoreError           an activation file
    ├── MeasureError         points or labels that a measure is not defined for
    ├── StoppedEarly         exit code 3: partly done, what is committed is kept
    └── GateFailed           exit code 4: done, but a ``--fail-if`` condition holds

A message is one line: what was given, what was found, what to do.
"""


class EntangleError(Exception):
    """Wrong use or bad input, said in one line."""

    exit_code = 2


class UsageError(EntangleError):
    """The command line or ``entangle.toml`` asks for something that does not exist."""


class ModelError(EntangleError):
    """A model file cannot be read, run or tapped."""


class DataError(EntangleError):
    """A data set cannot be read, or does not fit the model."""


class StoreError(EntangleError):
    """An activation file is damaged or belongs to something else."""


class MeasureError(EntangleError):
    """A measure is not defined for these points and labels."""


class StoppedEarly(EntangleError):
    """The work was cut short; everything committed is kept and the same command resumes."""

    exit_code = 3


class GateFailed(EntangleError):
    """The work is done and its results stand, but a ``--fail-if`` condition holds."""

    exit_code = 4
