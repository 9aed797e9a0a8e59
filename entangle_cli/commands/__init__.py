"""The commands: the only folder that talks to a person. One file per verb."""
