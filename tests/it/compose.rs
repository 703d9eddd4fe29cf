//! The services of `compose.yaml`, started on this machine with the file's commands; only addresses and ports differ.

use std::collections::BTreeMap;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::support::port::free_port;
use super::support::process::{Process, example, sidestream};
use super::support::redis::RedisServer;

const FILE: &str = include_str!("../../compose.yaml");

/// Port of the subscriber's app in `compose.yaml`.
const APP_PORT: &str = "8001";

/// The services of the file, and the local address that replaces each address in it.
struct Compose {
    services: Value,
    redis: String,
    app_port: String,
    http_ports: BTreeMap<&'static str, String>,
    mounted: tempfile::TempDir,
}

impl Compose {
    fn read(redis_port: u16) -> Self {
        let file: Value = serde_saphyr::from_str(FILE).unwrap();
        let ports = ["publisher", "subscriber"].map(|app| (app, free_port().to_string()));
        Self {
            services: file["services"].clone(),
            redis: format!("127.0.0.1:{redis_port}"),
            app_port: free_port().to_string(),
            http_ports: ports.into(),
            mounted: tempfile::tempdir().unwrap(),
        }
    }

    fn words(&self, service: &str) -> Vec<&str> {
        let words = self.services[service]["command"].as_array().unwrap();
        words.iter().map(|word| word.as_str().unwrap()).collect()
    }

    fn environment(&self, service: &str) -> BTreeMap<String, String> {
        let variables = self.services[service]["environment"].as_object();
        let pairs = variables.into_iter().flatten().map(|(name, value)| {
            let value = match value.as_str().unwrap() {
                "redis:6379" => &self.redis,
                APP_PORT => &self.app_port,
                other => other,
            };
            (name.clone(), value.to_owned())
        });
        pairs.collect()
    }

    /// Starts an app, whose network its sidecar shares.
    fn app(&self, service: &str) -> Process {
        let words = self.words(service);
        assert_eq!(words[0], "python3");
        let mut command = example(words[1].strip_prefix("/app/").unwrap());
        command.envs(self.environment(service)).env("DAPR_HTTP_PORT", &self.http_ports[service]);
        Process::start(command)
    }

    /// Starts the sidecar of an app, with its component files where the volume is mounted.
    fn sidecar(&self, app: &str) -> Process {
        let service = format!("{app}-sidecar");
        let folder = self.mount(&service);
        let words = self.words(&service).into_iter().map(|word| match word {
            "/components" => folder.clone(),
            APP_PORT => self.app_port.clone(),
            word => word.to_owned(),
        });
        let mut command = sidestream(words);
        command
            .args(["--dapr-http-port", &self.http_ports[app]])
            .args(["--dapr-grpc-port", &free_port().to_string()])
            .args(["--dapr-listen-addresses", "127.0.0.1"])
            .args(["--metrics-listen-address", "127.0.0.1"])
            .args(["--metrics-port", &free_port().to_string()])
            .envs(self.environment(&service));
        Process::start(command)
    }

    fn mount(&self, service: &str) -> String {
        let volume = self.services[service]["volumes"][0].as_str().unwrap();
        let (from, to) = volume.strip_suffix(":ro").and_then(|volume| volume.split_once(':')).unwrap();
        let folder = self.mounted.path().join(service);
        std::fs::create_dir_all(&folder).unwrap();
        let name = Path::new(to).file_name().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(from);
        std::fs::copy(from, folder.join(name)).unwrap();
        folder.display().to_string()
    }
}

#[tokio::test]
async fn the_parts_work_together_in_whatever_order_they_start() {
    let mut redis = RedisServer::start().await;
    let compose = Compose::read(redis.port);
    let publisher = compose.app("publisher");
    publisher.says("not published: ").await;
    // Start Redis last: nothing may depend on the order.
    redis.crash();
    let kitchen = compose.sidecar("subscriber");
    let shop = compose.sidecar("publisher");
    let subscriber = compose.app("subscriber");
    subscriber.says("subscriber listens on port ").await;
    redis.restart().await;

    publisher.says("published order 2").await;
    subscriber.says("{'orderId': 1, ").await;
    subscriber.says("{'orderId': 2, ").await;
    for mut part in [shop, kitchen] {
        part.signal(Signal::SIGTERM);
        assert_eq!(part.ended().await, 0, "{}", part.said());
    }
}
