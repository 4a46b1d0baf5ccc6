"""What goes wrong in a way the user can mend: one clear line, exit code 2, no traceback."""

import os
import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake in the input: the message names the file or option, its value and the remedy."""


class AudioError(Exception):
    """One audio file cannot be used; the message is the reason. A run goes on without that file."""


def run_entry(main: Callable[[], None]) -> None:
    """Run an entry script's ``main``: UserError -> one line and exit 2; Ctrl-C -> one line and exit 130.

    Who stops reading what it prints (``| head``) ends it as if it were done, as other programs of a pipe do.
    """
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter's last flush goes nowhere
        sys.exit(1)
    except KeyboardInterrupt:
        print("\ninterrupted: what is finished is kept; the same command goes on from there", file=sys.stderr)
        sys.exit(130)
