"""The syntax of the commands: their options, and what `--help` says."""
