"""The one exception for what a user can put right: one line on the command line, exit code 2."""


class UserError(Exception):
    """A mistake in a config, a file or a command. The message names the thing and the remedy."""
