#!/usr/bin/env python3
"""run.py [STEP...]: attacks the release binary, and prints a line per attack: `ok` with figures, `skipped` with the
reason, or `failed`. A step may be named by its beginning (`slow`). Nothing is installed; everything that is started is ended.

ATTACK_SECONDS (20) is how long each slow attack and the streams last, SOAK_SECONDS (180) the soak. The step `prove` takes twelve minutes.
"""

import os
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness import BINARY, SIM, Skipped, more_descriptors  # noqa: E402
from steps import STEPS  # noqa: E402


def main(wanted):
    for file in (BINARY, SIM):
        if not os.access(file, os.X_OK):
            sys.exit(f"{file} is not there: run `make test-attack`")
    limit = more_descriptors()
    failed = 0
    for name, step in STEPS.items():
        if wanted and not any(name.startswith(begin) for begin in wanted):
            continue
        start = time.monotonic()
        try:
            if "-4000-" in name and limit < 10000:
                raise Skipped(f"4,000 connections need 10,000 descriptors, {limit} are allowed (ulimit -n)")
            verdict, figures = "ok", step()
        except Skipped as why:
            verdict, figures = "skipped", str(why)
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            failed += 1
            verdict, figures = "failed", repr(error)
        print(f"  {verdict:<8} {name} ({time.monotonic() - start:.0f} s): {figures}", flush=True)
    sys.exit(1 if failed else 0)


main(sys.argv[1:])
