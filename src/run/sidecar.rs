//! A sidecar in this process, beside the app that `run` starts for it.

use tokio::sync::oneshot;

use crate::api::Extended;
use crate::health::Health;
use crate::runtime::{Outcome, Plan, Runtime, StartError};
use crate::shutdown::{Stop, Tasks};

/// A running sidecar.
pub(super) struct Sidecar {
    stop: Stop,
    tasks: Tasks,
    end: oneshot::Receiver<Result<(), String>>,
    extended: Extended,
    health: Health,
}

impl Sidecar {
    /// Start a sidecar from a plan.
    ///
    /// # Errors
    /// If it cannot start.
    pub(super) async fn start(plan: Plan) -> Result<Self, StartError> {
        let runtime = Runtime::build(plan).await?;
        let (extended, health) = (runtime.extended(), runtime.health());
        let (stop, tasks) = (Stop::new(), Tasks::new());
        let (sender, end) = oneshot::channel();
        let order = stop.clone();
        tasks.spawn("sidecar", async move {
            let end = match runtime.run(order).await {
                Outcome::Graceful => Ok(()),
                Outcome::TimedOut => Err("it did not end within its time".to_owned()),
                Outcome::Failed => Err("its resource files cannot be used any more".to_owned()),
                Outcome::Forced => Err("it was told to end at once".to_owned()),
            };
            // The receiver is gone only when this process is about to end.
            let _ = sender.send(end);
        });
        Ok(Self { stop, tasks, end, extended, health })
    }

    /// Add a value to the answer of the metadata API.
    pub(super) fn put(&self, key: &str, value: impl Into<String>) {
        self.extended.put(key.to_owned(), value.into());
    }

    /// Its readiness.
    pub(super) fn health(&self) -> Health {
        self.health.clone()
    }

    /// Resolves when the sidecar ends by itself.
    pub(super) async fn ended(&mut self) -> Result<(), String> {
        (&mut self.end).await.unwrap_or_else(|_| Err("the sidecar ended without a word".to_owned()))
    }

    /// Stop in order, within the sidecar's own grace period.
    pub(super) async fn stop(&mut self) -> Result<(), String> {
        self.stop.trigger();
        let end = self.ended().await;
        self.tasks.ended().await;
        end
    }
}
