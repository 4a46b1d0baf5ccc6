"""What goes wrong in a way the user can mend: one clear line, exit code 2, no traceback."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake in the input: the message names the file or option, its value and the remedy."""


class AudioError(Exception):
    """One audio file cannot be used; the message is the reason. A run goes on without that file."""


def run_entry(main: Callable[[], None]) -> None:
    """Run an entry script's ``main``: UserError -> one line and exit 2; Ctrl-C -> one line and exit 130."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ninterrupted: what is finished is kept; the same command goes on from there", file=sys.stderr)
        sys.exit(130)
