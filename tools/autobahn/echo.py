"""The other ends for Autobahn's fuzzers: `echo.py serve [CERTIFICATE.pem]` echoes, `echo.py ask URL AGENT` takes all cases.

Both print what the caller must know on one line: the port, or the number of cases.
"""

import asyncio
import signal
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, WebSocketException

OPTIONS = {"max_size": None, "ping_interval": None, "close_timeout": 5}


async def echo(socket):
    try:
        async for message in socket:
            await socket.send(message)
    except ConnectionClosed:
        pass


async def run_server(certificate):
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    async with serve(echo, "127.0.0.1", 0, ssl=context, **OPTIONS) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await stopped.wait()


async def run_client(url, agent):
    # No proxy from the environment: this is about ours.
    async with connect(f"{url}/getCaseCount", proxy=None, **OPTIONS) as socket:
        count = int(await socket.recv())
    for case in range(1, count + 1):
        try:
            async with connect(f"{url}/runCase?case={case}&agent={agent}", proxy=None, **OPTIONS) as socket:
                await echo(socket)
        except (WebSocketException, OSError, EOFError):
            # What went wrong is in the fuzzer's report.
            pass
    async with connect(f"{url}/updateReports?agent={agent}", proxy=None, **OPTIONS) as socket:
        await socket.wait_closed()
    print(count)


if sys.argv[1] == "serve":
    asyncio.run(run_server(sys.argv[2] if len(sys.argv) > 2 else None))
else:
    asyncio.run(run_client(sys.argv[2], sys.argv[3]))
