#!/usr/bin/env python3
"""A flood of a sidecar's HTTP port, by hand.

    tests/flood.py connections|bodies PORT PID [COUNT]   the flood: connections that stay open, or requests with 4 MiB each
    tests/flood.py watch PORT PID SECONDS                another client: small events, on new connections and on one that is kept

Each prints the answers; the watch prints latencies and the largest resident memory of the process PID, too. Run both at a time. The
sidecar needs a component `pubsub`, the flood an `ulimit -n` above COUNT (two floods of half the count do as well).
"""
import asyncio
import collections
import sys
import time

MODE, PORT, PID = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
COUNT = int(sys.argv[4]) if len(sys.argv) > 4 else {"connections": 20000, "bodies": 10000, "watch": 60}[MODE]
PATH = "/v1.0/publish/pubsub/flood"
SMALL = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode()
LARGE = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {4 << 20}\r\n\r\n".encode()
answers, over = collections.Counter(), asyncio.Event()


def memory():
    for line in open(f"/proc/{PID}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024


async def connect(source):
    return await asyncio.open_connection("127.0.0.1", PORT, local_addr=(source, 0))


async def status(reader):
    line = await reader.readline()
    if not line:
        return "closed"
    length = 0
    while (header := await reader.readline()) not in (b"\r\n", b""):
        if header.lower().startswith(b"content-length:"):
            length = int(header.split(b":")[1])
    await reader.readexactly(length)
    return line.split()[1].decode()


async def one(n):
    try:
        reader, writer = await connect(f"127.0.0.{2 + n % 8}")
        if MODE == "connections":
            if n % 2:
                writer.write(SMALL)
                answers[await status(reader)] += 1
            await over.wait()
        else:
            async def send():
                try:
                    writer.write(LARGE)
                    for _ in range(64):
                        writer.write(b"x" * (64 << 10))
                        await writer.drain()
                except OSError:
                    pass  # It has been answered, or closed, before the end.
            sending = asyncio.ensure_future(send())
            answers[await asyncio.wait_for(status(reader), 120)] += 1
            sending.cancel()
        writer.close()
    except Exception as error:
        answers[type(error).__name__] += 1


async def other(name, keep):
    seen, times, connection = collections.Counter(), [], None
    while not over.is_set():
        begun = time.monotonic()
        try:
            connection = connection or await connect("127.0.0.1")
            connection[1].write(SMALL)
            got = await asyncio.wait_for(status(connection[0]), 20)
        except Exception as error:
            got = type(error).__name__
        seen[got] += 1
        times.append(time.monotonic() - begun)
        if connection and (not keep or got != "204"):
            connection[1].close()
            connection = None
        await asyncio.sleep(0.02)
    times.sort()
    at = lambda share: f"{times[int(len(times) * share)] * 1000:.0f} ms"
    print(f"{name}: {dict(seen)}, median {at(.5)}, 99 % {at(.99)}, longest {times[-1] * 1000:.0f} ms")


async def watch():
    before, most = memory(), 0
    others = [asyncio.ensure_future(other("new connections", False)), asyncio.ensure_future(other("a kept connection", True))]
    for _ in range(COUNT * 10):
        most = max(most, memory())
        await asyncio.sleep(0.1)
    over.set()
    await asyncio.gather(*others)
    print(f"memory {before} MiB, at most {most} MiB, then {memory()} MiB")


async def flood():
    begun = time.monotonic()
    tasks = [asyncio.ensure_future(one(n)) for n in range(COUNT)]
    await asyncio.wait(tasks, timeout=30 if MODE == "connections" else 150)
    over.set()
    await asyncio.wait(tasks, timeout=10)
    print(f"{MODE}: {COUNT} in {time.monotonic() - begun:.0f} s, answers {dict(answers)}")


asyncio.run(watch() if MODE == "watch" else flood())
