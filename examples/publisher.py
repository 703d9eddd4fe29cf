"""A publisher: one POST an order, to the sidecar. Python standard library only.

    sidestream run -f examples      (both apps at once, nothing installed)
    sidestream run --app-id shop --resources-path components -- python3 examples/publisher.py
"""
import itertools
import json
import os
import time
import urllib.error
import urllib.request

PUBSUB = os.environ.get("PUBSUB_NAME", "pubsub")
SIDECAR = f"http://127.0.0.1:{os.environ.get('DAPR_HTTP_PORT', '3500')}"


def publish(topic, data):
    """True once the broker has the event. Until then it is ours to keep."""
    request = urllib.request.Request(
        f"{SIDECAR}/v1.0/publish/{PUBSUB}/{topic}",
        data=json.dumps(data).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10):
            return True
    except urllib.error.HTTPError as error:
        print("refused:", error.code, error.read().decode(errors="replace"), flush=True)
    except OSError as error:  # the sidecar is not there yet, or Redis is away
        print("not published:", error, flush=True)
    return False


def main():
    for number in itertools.count(1):
        order = {"orderId": number, "item": "tea"}
        while not publish("orders", order):
            time.sleep(1)
        print("published order", number, flush=True)
        time.sleep(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
