"""load.py HOST:PORT STREAMS EVENTS PAUSE_MS: that many streams at once through the proxy, each read to its end.

Prints how many were whole; they are `data: [DONE]` at the end and a complete chunked body.
"""

import http.client
import sys
import threading


def main(address, streams, events, pause):
    whole = []
    everyone = threading.Barrier(int(streams))

    def stream():
        connection = http.client.HTTPConnection(address, timeout=120)
        connection.connect()
        everyone.wait(timeout=60)
        connection.request("GET", f"/sim/sse?events={events}&pause_ms={pause}", headers={"api-key": "dummy"})
        body = connection.getresponse().read()
        if body.endswith(b"data: [DONE]\n\n"):
            whole.append(1)

    threading.stack_size(256 * 1024)
    threads = [threading.Thread(target=stream) for _ in range(int(streams))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(len(whole))
    return len(whole) != int(streams)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
