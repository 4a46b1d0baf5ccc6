"""Errors that the user can fix: one clear line, exit code 2, no traceback."""

import errno
import io
import os
import re
import sys
from collections.abc import Callable

# Errors of the system that only the user can mend, wherever they occur; the message is the system's.
_USERS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENAMETOOLONG}
_USERS |= {errno.EMFILE, errno.ENFILE, errno.ELOOP}


class UserError(Exception):
    """A mistake in the input: the message names the file or option, its value and the remedy."""


class DivergedError(UserError):
    """A training whose figures are no longer finite."""


class AudioError(Exception):
    """One audio file cannot be used; the message is the reason. The run continues without that file."""


def not_installed(package: str) -> str:
    """What is missing and how to install it: the extra of this project that has the package, if there is one."""
    import importlib.metadata  # takes 30 ms, which --help does not need

    name = package.split(".")[0]
    try:
        requirements = importlib.metadata.requires("frequency-quest") or []
    except importlib.metadata.PackageNotFoundError:
        requirements = []
    extras = [re.fullmatch(rf"{re.escape(name)}\b.*; extra == ['\"](.+)['\"]", line) for line in requirements]
    extra = next((match[1] for match in extras if match), None)
    remedy = f"'frequency-quest[{extra}]'" if extra else "-r requirements.txt"
    return f"{name} is not installed; pip install {remedy}"


def run_entry(main: Callable[[], None]) -> None:
    """Run an entry script's ``main``: UserError -> one line and exit 2; Ctrl-C -> one line and exit 130.

    Errors that only the user can mend, such as a missing permission or package, are one line and exit 2, too.

    If the reader of a pipe closes it (``| head``), the script ends silently with exit code 1.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be valid UTF-8
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in ("shared", "classification", "generation"):
            raise
        print(f"error: {not_installed(error.name)}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # discards the interpreter's last flush
        sys.exit(1)
    except OSError as error:
        if error.errno not in _USERS:
            raise
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        print(f"error: {where}{error.strerror}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ninterrupted; finished work is kept. Run the same command again to continue", file=sys.stderr)
        sys.exit(130)
