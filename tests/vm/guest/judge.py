"""The judge of a trial: claims, each with what was seen of it, and the table at the end.

A claim is a `with` block that raises nothing. The trial goes on behind one that fails, as far as it can; what follows
from it fails by itself.
"""

import contextlib
import os
import subprocess
import sys
import time

# A wait gives up after this many seconds. It is far longer than anything takes: the machine is emulated and shared.
PATIENCE = int(os.environ.get("LAB_PATIENCE", "120"))


class Judge:
    def __init__(self):
        self.table = []

    @contextlib.contextmanager
    def claim(self, text):
        """One line of the table; what its block adds to the list that it is given, is printed with it."""
        begun, seen = time.monotonic(), []
        try:
            yield seen
            verdict = "holds"
        except Exception as error:  # Whatever goes wrong is what the table is for.
            verdict = "FAILS"
            seen.append(f"{type(error).__name__}: {error}")
        took = time.monotonic() - begun
        self.table.append((verdict, took, text, seen))
        print(f"LAB {verdict} {took:6.1f} s  {text}{' — ' if seen else ''}{'; '.join(map(str, seen))}", flush=True)

    def versions(self, programs=()):
        """Says what it was all tried with; `programs` are further ones, each with the command that tells its version."""
        asked = {
            "hearthlink": ["/mnt/program/hearthlink", "--version"], "kernel": ["uname", "-r"], "machine": ["uname", "-m"],
            **dict(programs),
        }
        for name, command in asked.items():
            self.note(name, subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout)

    def note(self, name, said):
        """A line that is no claim: the first of what was said."""
        print(f"LAB {name}: {said.splitlines()[0] if said else ''}", flush=True)

    def finish(self, logs=()):
        """Says how many hold and ends the trial; `logs` are for the machine's own log, whatever came of it."""
        failed = sum(verdict != "holds" for verdict, *_ in self.table)
        for log in logs:
            print(f"--- {log.name}\n{log.read_text(errors='replace')}")
        print(f"LAB {len(self.table) - failed} of {len(self.table)} claims hold", flush=True)
        sys.exit(1 if failed or not self.table else 0)


def eventually(what, see, patience=PATIENCE, pause=0.05):
    """Waits until `see` gives something that is true, and gives it."""
    end = time.monotonic() + patience
    while not (found := see()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {patience} s: {what}")
        time.sleep(pause)
    return found
