//! Stopping: [`Stop`], a token that parts wait for, and [`Tasks`], the set of running tasks.
//!
//! Every task of a sidecar is spawned through [`Tasks`]; every loop watches its [`Stop`]. A child stops with its
//! parent, but not the parent with its child.

pub mod signals;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A token that ends one part of a sidecar. It cannot be reset.
#[derive(Clone, Debug, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// A token without a parent.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that is triggered with this one, and can be triggered alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// End this part and its children.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Whether it has been triggered.
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves once it has been triggered; at once if it is already.
    pub async fn triggered(&self) {
        self.0.cancelled().await;
    }

    /// Run `work` until it ends or the token is triggered. `None`: the token came first.
    pub async fn run_until_triggered<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.0.cancelled() => None,
            done = work => Some(done),
        }
    }

    /// Sleep, but not beyond the trigger. `false`: it has been triggered.
    pub async fn sleep(&self, duration: Duration) -> bool {
        self.run_until_triggered(tokio::time::sleep(duration)).await.is_some()
    }
}

/// All running tasks of a sidecar. Clones share the set.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    names: Arc<Mutex<Vec<&'static str>>>,
}

impl Tasks {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Run a future as a task of this sidecar. The name is for the warning if it outlives the shutdown.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let running = Running::new(name, &self.names);
        // Boxed first: spawning moves a future several times, and some are large.
        let work = Box::pin(work);
        tokio::spawn(self.tracker.track_future(async move {
            let _running = running;
            work.await;
        }))
    }

    /// Resolves when no task is running.
    pub async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// The names of the running tasks, each once.
    pub fn running(&self) -> Vec<&'static str> {
        let mut names = self.names.lock().clone();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// The entry of a task in the list of names, removed when the task ends, by a panic or a drop, too.
struct Running {
    name: &'static str,
    names: Arc<Mutex<Vec<&'static str>>>,
}

impl Running {
    fn new(name: &'static str, names: &Arc<Mutex<Vec<&'static str>>>) -> Self {
        names.lock().push(name);
        Self { name, names: names.clone() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut names = self.names.lock();
        if let Some(at) = names.iter().position(|name| *name == self.name) {
            names.swap_remove(at);
        }
    }
}
