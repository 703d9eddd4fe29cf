//! The end of a sidecar, in order: deliveries, API, brokers (tests/spec/resources-cli.md,
//! "11.6 Signals and graceful shutdown", "11.7 Block shutdown").

use std::time::Duration;

use super::Runtime;
use crate::duration::GoDuration;
use crate::resources::kinds::component;
use crate::telemetry::events::lifecycle::{
    BlockEndedByApp, BlockExpired, ComponentClosing, ShutDown, ShutdownBlocked, ShutdownTimedOut, ShuttingDown,
};

/// How a sidecar ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In order.
    Graceful,
    /// Something did not end within the grace period.
    TimedOut,
    /// The API asked for the end at once.
    Forced,
    /// Hot reload met files one cannot go on with; it ended in order.
    Failed,
}

impl Outcome {
    /// Of the process.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Graceful => 0,
            Self::TimedOut | Self::Forced | Self::Failed => 1,
        }
    }
}

impl Runtime {
    /// Stop in order. `may_block`: the block-shutdown time applies, which is so for signals only.
    pub(super) async fn stop(self, may_block: bool) -> Outcome {
        self.health.stopping();
        self.reloading.trigger();
        if let Some(duration) = self.settings.block_shutdown.filter(|_| may_block) {
            self.block(duration).await;
        }
        self.telemetry.emit(ShuttingDown);
        let outcome = match self.settings.graceful_shutdown {
            None => {
                self.end().await;
                Outcome::Graceful
            }
            Some(grace) => match tokio::time::timeout(grace, self.end()).await {
                Ok(()) => Outcome::Graceful,
                Err(_) => Outcome::TimedOut,
            },
        };
        match outcome {
            Outcome::TimedOut => self.telemetry.emit(ShutdownTimedOut { running: &self.tasks.running() }),
            Outcome::Graceful | Outcome::Forced | Outcome::Failed => self.telemetry.emit(ShutDown),
        }
        outcome
    }

    /// No more deliveries, but everything else goes on for a while.
    async fn block(&self, duration: Duration) {
        self.telemetry.emit(ShutdownBlocked { duration: &GoDuration::from(duration) });
        self.supervisor.stop().await;
        let app = self.settings.app.as_ref();
        let has_checks = app.is_some_and(|app| app.health.is_some());
        let unhealthy = async {
            match self.supervisor.app_health() {
                Some(health) => health.unhealthy().await,
                // Its port was never open: it never was healthy.
                None if has_checks => {}
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = unhealthy => self.telemetry.emit(BlockEndedByApp),
            () = tokio::time::sleep(duration) => self.telemetry.emit(BlockExpired),
        }
    }

    async fn end(&self) {
        // What the app has in hand may still publish: so deliveries end before the API does.
        self.supervisor.stop().await;
        self.stop.trigger();
        for pubsub in self.catalog.all() {
            let component = component::log_name(&pubsub.name, &pubsub.kind, &pubsub.version);
            self.telemetry.emit(ComponentClosing { component: &component });
            pubsub.close().await;
        }
        self.tasks.ended().await;
    }
}
