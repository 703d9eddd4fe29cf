//! The shutdown, in order: deliveries, API, brokers (tests/spec/resources-cli.md,
//! "11.6 Signals and graceful shutdown", "11.7 Block shutdown").

use std::time::Duration;

use super::run::{Outcome, Runtime};
use crate::duration::GoDuration;
use crate::resources::kinds::component;
use crate::telemetry::events::lifecycle::{
    BlockEndedByApp, BlockExpired, ComponentClosing, ShutDown, ShutdownBlocked, ShutdownTimedOut, ShuttingDown,
};

impl Runtime {
    /// Stop in order. `may_block`: `--dapr-block-shutdown-duration` applies, which it does for signals only.
    pub(super) async fn stop(self, may_block: bool) -> Outcome {
        self.handles.health.stopping();
        self.reloading.trigger();
        if let Some(duration) = self.handles.settings.block_shutdown.filter(|_| may_block) {
            self.block(duration).await;
        }
        self.handles.telemetry.emit(ShuttingDown);
        let outcome = match self.handles.settings.graceful_shutdown {
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
            Outcome::TimedOut => {
                self.handles.telemetry.emit(ShutdownTimedOut { running: &self.handles.tasks.running() })
            }
            Outcome::Graceful | Outcome::Forced | Outcome::Failed => self.handles.telemetry.emit(ShutDown),
        }
        outcome
    }

    /// End the deliveries, and let everything else go on for this time.
    async fn block(&self, duration: Duration) {
        self.handles.telemetry.emit(ShutdownBlocked { duration: &GoDuration::from(duration) });
        self.supervisor.stop().await;
        let app = self.handles.settings.app();
        let has_checks = app.is_some_and(|app| app.health.is_some());
        let unhealthy = async {
            match self.supervisor.app_health() {
                Some(health) => health.unhealthy().await,
                // The app has never listened, so it is unhealthy.
                None if has_checks => {}
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = unhealthy => self.handles.telemetry.emit(BlockEndedByApp),
            () = tokio::time::sleep(duration) => self.handles.telemetry.emit(BlockExpired),
        }
    }

    async fn end(&self) {
        // Deliveries in progress may still publish, so they end before the API does.
        self.supervisor.stop().await;
        self.handles.stop.trigger();
        for pubsub in self.handles.catalog.all() {
            let component = component::log_name(&pubsub.name, &pubsub.kind, &pubsub.version);
            self.handles.telemetry.emit(ComponentClosing { component: &component });
            pubsub.close().await;
        }
        self.handles.tasks.ended().await;
    }
}
