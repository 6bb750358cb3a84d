"""How every AirSplit program talks on a terminal: errors in one line, exit code 2."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from airsplit.errors import AirSplitError


class Parser(argparse.ArgumentParser):
    """argparse without the usage block before an error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def report_errors(program: str, run: Callable[[], int]) -> int:
    """Runs a program's body; an `AirSplitError` becomes one line and exit code 2. Ctrl-C is 130 and
    a closed output 141, as shells have it."""
    try:
        code = run()
        sys.stdout.flush()  # at the interpreter's end it is too late to say that nobody reads
        return code
    except AirSplitError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 130
