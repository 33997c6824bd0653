"""manager.py COMMAND...: runs it as a service manager would, and prints what it was sent.

Prints each message of the notification socket with the seconds since the start; after READY=1 it makes a request to the
address in CHECK_URL, if that is set, then sends SIGTERM and prints the exit code.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
    name = f"auth-proxy-manager-{os.getpid()}"
    manager.bind("\0" + name)
    manager.settimeout(60)
    started = time.monotonic()
    child = subprocess.Popen(sys.argv[1:], env={**os.environ, "NOTIFY_SOCKET": "@" + name})
    try:
        while True:
            message = manager.recv(4096).decode()
            print(f"{message} {time.monotonic() - started:.3f}", flush=True)
            if message == "STOPPING=1":
                break
            if os.environ.get("CHECK_URL"):
                with urllib.request.urlopen(os.environ["CHECK_URL"], timeout=30) as response:
                    print(f"request {response.status}", flush=True)
            # strace passes no signal on; the program is its child.
            children = open(f"/proc/{child.pid}/task/{child.pid}/children", encoding="ascii").read().split()
            os.kill(int(children[0]) if children else child.pid, signal.SIGTERM)
        print(f"exit {child.wait(timeout=60)}")
    finally:
        child.kill()
