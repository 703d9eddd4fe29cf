"""A subscriber: says which topics it wants, gets CloudEvents as POST requests. Python standard library only.

    sidestream run --app-id kitchen --app-port 8001 -- python3 examples/subscriber.py
"""
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PUBSUB = os.environ.get("PUBSUB_NAME", "pubsub")
PORT = int(os.environ.get("APP_PORT", "8001"))
SUBSCRIPTIONS = [{"pubsubname": PUBSUB, "topic": "orders", "route": "/orders"}]


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the connection open for the next event

    def do_GET(self):
        if self.path == "/dapr/subscribe":
            self.answer(200, SUBSCRIPTIONS)
        else:
            self.answer(404, {})

    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        print("got", event["topic"], event["id"], event.get("data"), flush=True)
        # SUCCESS: done. RETRY: again later. DROP: not wanted; to the dead-letter topic, if there is one.
        self.answer(200, {"status": "SUCCESS"})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    # Only the sidecar talks to the app, and it is on the same host (in compose: in the same network namespace).
    server = ThreadingHTTPServer(("127.0.0.1", PORT), App)
    print(f"subscriber listens on port {PORT}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
