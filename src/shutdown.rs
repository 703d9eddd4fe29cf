//! How everything stops: a token that says so, and a tracker that knows which tasks still run.
//!
//! Every task of a sidecar is spawned through [`Tasks`]; every loop watches its [`Stop`]. A child stops with its parent, not the other
//! way round.

pub mod signals;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tells one part of a sidecar to stop, once and for good.
#[derive(Clone, Debug, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// A stop without parent.
    pub fn new() -> Self {
        Self::default()
    }

    /// A part that stops with this one, and can be stopped alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Stop this part and its children. It cannot be taken back.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Is this part to stop?
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves once this part is to stop; at once if it is already.
    pub async fn triggered(&self) {
        self.0.cancelled().await;
    }

    /// Run `work` until it ends or this part is to stop; `None` if the stop came first.
    pub async fn run_until_triggered<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.0.cancelled() => None,
            done = work => Some(done),
        }
    }

    /// Sleep, or less if this part is to stop. `true` if it may go on.
    pub async fn sleep(&self, duration: Duration) -> bool {
        self.run_until_triggered(tokio::time::sleep(duration)).await.is_some()
    }
}

/// All running tasks of a sidecar. Clones are handles to the same set.
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

    /// Run a future as a task of this sidecar. The name is for the warning when it outlives the stop.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let running = Running::new(name, &self.names);
        // On the heap at once: what is spawned is moved several times, and some futures are large.
        let work = Box::pin(work);
        tokio::spawn(self.tracker.track_future(async move {
            let _running = running;
            work.await;
        }))
    }

    /// Resolves when no task is left.
    pub async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// The names of the tasks that still run, each once.
    pub fn running(&self) -> Vec<&'static str> {
        let mut names = self.names.lock().clone();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// A task's entry in the list of names, taken out when the task ends in whatever way.
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
