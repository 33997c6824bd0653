"""The Python reference: what a sidecar of fifty lines does, an asyncio reverse proxy that adds a header.

reference.py PORT UPSTREAM_PORT CA_FILE AUTHORIZATION
"""

import asyncio
import ssl
import sys

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host"}


def main(port, upstream, ca_file, authorization):
    context = ssl.create_default_context(cafile=ca_file)
    base = f"https://127.0.0.1:{upstream}"

    async def sessions(app):
        connector = TCPConnector(ssl=context, limit=0)
        app["session"] = ClientSession(connector=connector, timeout=ClientTimeout(total=None), auto_decompress=False)
        yield
        await app["session"].close()

    async def forward(request):
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP]
        headers.append(("Authorization", authorization))
        body = request.content if request.can_read_body else None
        url = base + request.raw_path
        async with request.app["session"].request(
            request.method, url, headers=headers, data=body, allow_redirects=False, skip_auto_headers=("User-Agent",)
        ) as received:
            passed = [(k, v) for k, v in received.headers.items() if k.lower() not in HOP_BY_HOP]
            response = web.StreamResponse(status=received.status, headers=dict(passed))
            await response.prepare(request)
            async for piece in received.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    app = web.Application(client_max_size=0)
    app.cleanup_ctx.append(sessions)
    app.router.add_route("*", "/{path:.*}", forward)
    web.run_app(app, host="127.0.0.1", port=int(port), access_log=None, print=None, backlog=4096)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
