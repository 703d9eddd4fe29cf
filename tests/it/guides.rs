//! Dapr's how-to guides followed step by step with Sidestream in place of daprd: the files, commands and calls of each
//! guide, and the results it promises. One file per guide. Exact bytes are compared in `tests/golden`.

mod bulk;
mod cloudevents;
mod cors;
mod dead_letter;
mod namespaces;
mod publish_subscribe;
mod raw;
mod resiliency;
mod routing;
mod scopes;
mod tokens;
mod ttl;

use std::path::Path;

use serde_json::Value;

use crate::support::eventually;
use crate::support::http::{Answer, call as curl, ready};
use crate::support::port::free_port;
use crate::support::process::{Process, sidestream};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const EVENT: (&str, &str) = ("Content-Type", "application/cloudevents+json");

/// A small web framework for the apps of the guides, made from Python's standard library. A function gets the JSON body
/// and the headers, and returns a status, or a value that becomes a JSON body. It prints nothing itself.
const SERVING: &str = r#"
import builtins, json, os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

lock, in_pieces = threading.Lock(), print

# Events come at the same time, and `print` writes its arguments one by one.
def whole_lines(*words, **options):
    with lock:
        in_pieces(*words, **options)

builtins.print = whole_lines

def serve(routes):
    class App(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            function = routes.get(f"{self.command} {self.path}", lambda event, headers: 404)
            answer = function(json.loads(body) if body else None, self.headers)
            status, text = (answer, "") if isinstance(answer, int) else (200, json.dumps(answer))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = answer

        def log_message(self, *_):
            pass

    ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), App).serve_forever()
"#;

/// A folder with the files of a guide; its commands run here.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        desk.file("serving.py", SERVING)
    }

    /// Saves a file, and makes its folder if it is missing.
    fn file(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `sidestream run LINE`, where the guide says `dapr run LINE`.
    fn run(&self, line: &str) -> Process {
        self.run_with(&[], line)
    }

    /// As [`run`](Self::run), with these environment variables.
    fn run_with(&self, environment: &[(&str, &str)], line: &str) -> Process {
        // Listen on loopback only.
        let here = "run --dapr-listen-addresses=127.0.0.1 --metrics-listen-address=127.0.0.1";
        self.start(environment, &format!("{here} {line}"))
    }

    /// Runs `sidestream LINE`, where the guide says `daprd LINE`.
    fn daprd(&self, environment: &[(&str, &str)], line: &str) -> Process {
        let here = "--dapr-listen-addresses=127.0.0.1 --enable-metrics=false";
        let grpc = free_port();
        self.start(environment, &format!("{here} --dapr-grpc-port {grpc} {line}"))
    }

    fn start(&self, environment: &[(&str, &str)], line: &str) -> Process {
        let mut command = sidestream(line.split_whitespace());
        command.current_dir(self.path()).envs(environment.iter().copied());
        Process::start(command)
    }
}

/// The component file of a guide, for the Redis server on this port, with further settings (`name: value`) and keys
/// below `spec`.
fn redis(name: &str, port: u16, settings: &[(&str, &str)], below: &str) -> String {
    let settings: String =
        settings.iter().map(|(name, value)| format!("  - name: {name}\n    value: \"{value}\"\n")).collect();
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\nspec:\n  type: pubsub.redis\n  version: v1\n  metadata:\n  - name: redisHost\n    value: localhost:{port}\n  - name: redisPassword\n    value: \"\"\n{settings}{below}"
    )
}

/// One `POST`; returns the answer.
async fn post(port: u16, path: &str, header: (&str, &str), body: &str) -> Answer {
    curl("POST", port, path, &[header], body).await.unwrap()
}

/// Publishes JSON; `to` is component, topic and query. Fails unless the answer is 204.
async fn publish(port: u16, to: &str, json: &str) {
    let answer = post(port, &format!("/v1.0/publish/{to}"), JSON, json).await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{to}");
}

/// What follows `before` in each line that the app has printed.
fn printed(run: &Process, before: &str) -> Vec<String> {
    let before = format!("== APP == {before}");
    let said = run.said();
    let lines = said.lines().filter_map(|line| line.strip_prefix(&before));
    lines.map(str::to_owned).collect()
}

/// Waits for this many lines that begin with `before`; returns what follows it in each.
async fn prints(run: &Process, before: &str, count: usize) -> Vec<String> {
    eventually(&format!("the app prints {before:?}, {count} times"), || {
        let enough = printed(run, before).len() >= count;
        async move { enough }
    })
    .await;
    printed(run, before)
}

/// As [`prints`], with what follows read as JSON.
async fn prints_json(run: &Process, before: &str, count: usize) -> Vec<Value> {
    let lines = prints(run, before, count).await;
    let values = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    values.collect()
}
