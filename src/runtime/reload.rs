//! Hot reload: changes in the resource folders take effect while the sidecar runs (tests/spec/resources-cli.md, "10.
//! Hot reload and SIGHUP").
//!
//! The folders are read again as a whole and compared with the current resources. A single reading never removes
//! anything: saving a file may empty, remove or double it for a moment. While a file is broken, its previous resources
//! stay in force (D29).

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::broker_connect::Connecting;
use super::components::{ComponentBuilder, is_embedded, listed};
use super::handles::Handles;
use super::load::load_again;
use super::start_error::StartError;
use crate::api::{LoadedComponent, Snapshot};
use crate::broker::memory::shared::SharedBrokers;
use crate::config::Settings;
use crate::delivery::supervisor::Supervisor;
use crate::diagnostic::Diagnostic;
use crate::duration::GoDuration;
use crate::environment::Environment;
use crate::pubsub::Pubsub;
use crate::resiliency::Targets;
use crate::resources::difference::{Difference, Resource};
use crate::resources::files::watch::{Occasion, Watch};
use crate::resources::kinds::component::Component;
use crate::resources::kinds::policies::Direction;
use crate::resources::kinds::resiliency::Resiliency;
use crate::resources::kinds::subscription::SubscriptionSpec;
use crate::resources::last_good::{KeptFile, LastGood};
use crate::resources::{LoadError, Resources};
use crate::shutdown::Stop;
use crate::telemetry::Telemetry;
use crate::telemetry::events::lifecycle::FatalError;
use crate::telemetry::events::reload::{
    BrokenFileCorrected, BrokenFileDeleted, BrokenFileKept, Change, ComponentAdding, ComponentClosing,
    ComponentUpdated, ListingFailed, ReloadRefused, ResiliencyChanged, SubscriptionChanged, SubscriptionRefused,
    WatchFailed, WatchStarted,
};

/// Quiet time before a reading that removes resources, or has errors, is repeated.
const RECHECK: Duration = Duration::from_millis(250);

/// The current resources, and the parts that change with them.
pub(super) struct Reload {
    pub(super) handles: Handles,
    pub(super) environment: Environment,
    pub(super) targets: Targets,
    pub(super) supervisor: Supervisor,
    pub(super) connecting: Connecting,
    pub(super) view: MetadataView,
    pub(super) current: CurrentResources,
    pub(super) shared_brokers: SharedBrokers,
}

/// The snapshots that the metadata API shows.
pub(super) struct MetadataView {
    pub(super) components: Snapshot<LoadedComponent>,
    pub(super) resiliencies: Snapshot<String>,
}

/// The resources in use, from the last reading.
pub(super) struct CurrentResources {
    components: Vec<Component>,
    subscriptions: Vec<SubscriptionSpec>,
    resiliencies: Vec<Resiliency>,
    /// The diagnostics that have been logged: they are not logged again.
    logged: HashSet<String>,
    /// The errors of the last reading that did not end the sidecar.
    errors: HashSet<String>,
    /// The last valid content of each file.
    last_good: LastGood,
    /// Components that could not replace the current ones. They are not tried again until they change.
    refused: Vec<Component>,
}

impl CurrentResources {
    /// The resources of the start, without components that failed (`ignoreErrors`), so that those are tried again.
    pub(super) fn new(resources: Resources, shown: &[LoadedComponent]) -> Self {
        let is_shown = |component: &Component| shown.iter().any(|shown| shown.name == component.name);
        let mut components = resources.components;
        components.retain(is_shown);
        Self {
            components,
            subscriptions: resources.subscriptions,
            resiliencies: resources.resiliencies,
            logged: texts(&resources.diagnostics),
            errors: HashSet::new(),
            last_good: resources.last_good,
            refused: Vec::new(),
        }
    }

    /// Whether the end of this process would lose events that are stored nowhere else.
    fn holds_events(&self) -> bool {
        self.components.iter().any(|component| is_embedded(&component.kind))
    }
}

/// The differences to apply.
struct Changes {
    components: Difference<Component>,
    subscriptions: Difference<SubscriptionSpec>,
    resiliencies: Difference<Resiliency>,
}

impl Changes {
    fn is_loss(&self) -> bool {
        !(self.components.deleted.is_empty()
            && self.subscriptions.deleted.is_empty()
            && self.resiliencies.deleted.is_empty())
    }
}

/// The sidecar cannot go on with these files. The reason has been logged.
struct Unusable;

impl Reload {
    /// Follow the folders until `stop`. `failed` is triggered if the sidecar cannot go on with their content.
    pub(super) async fn follow(mut self, watch: Watch, period: Duration, stop: Stop, failed: Stop) {
        while let Some(occasion) = stop.run_until_triggered(watch.occasion(period)).await {
            // Not on the workers that deliver events. An error is reported by the reading below.
            let again = watch.clone();
            let _ = tokio::task::spawn_blocking(move || again.renew()).await;
            let Some(found) = stop.run_until_triggered(self.read_settled(&watch)).await else {
                return;
            };
            if !found.errors.is_empty() && occasion == Occasion::Time {
                found.errors.iter().for_each(|error| self.handles.telemetry.emit(ListingFailed { error }));
                continue;
            }
            if self.apply(found, &stop).await.is_err() {
                return failed.trigger();
            }
        }
    }

    /// Read the folders, and once more if the first reading removes something or has errors.
    async fn read_settled(&self, watch: &Watch) -> Resources {
        let found = self.read(BTreeSet::new()).await;
        let is_kept = |file: &KeptFile| self.current.last_good.kept().contains(file);
        let is_broken_anew = !found.last_good.kept().iter().all(is_kept);
        if found.errors.is_empty() && !is_broken_anew && !self.changes(&found).is_loss() {
            return found;
        }
        watch.quiet(RECHECK).await;
        self.read(BTreeSet::new()).await
    }

    /// Read the folders. Files in `refused` count as broken.
    async fn read(&self, refused: BTreeSet<PathBuf>) -> Resources {
        let (settings, environment) = (self.handles.settings.clone(), self.environment.clone());
        let last_good = self.current.last_good.clone();
        // Not on the workers that deliver events: a folder may be on a slow disk.
        let reading = move || load_again(&settings, &environment, &last_good, &refused);
        let read = tokio::task::spawn_blocking(reading).await;
        read.unwrap_or_else(|_| self.unchanged())
    }

    /// A reading without changes, in place of one that failed.
    fn unchanged(&self) -> Resources {
        Resources {
            components: self.current.components.clone(),
            subscriptions: self.current.subscriptions.clone(),
            resiliencies: self.current.resiliencies.clone(),
            last_good: self.current.last_good.clone(),
            ..Resources::default()
        }
    }

    fn changes(&self, found: &Resources) -> Changes {
        let loaded = &self.current;
        Changes {
            components: Difference::between(&loaded.components, &found.components),
            subscriptions: Difference::between(&loaded.subscriptions, &found.subscriptions),
            resiliencies: Difference::between(&loaded.resiliencies, &found.resiliencies),
        }
    }

    async fn apply(&mut self, mut found: Resources, stop: &Stop) -> Result<(), Unusable> {
        self.log_new(&found.diagnostics);
        if !found.errors.is_empty() {
            let Some(rest) = self.without_refused(&found).await else {
                return Err(Unusable);
            };
            found = rest;
        } else {
            self.current.errors.clear();
        }
        let changes = self.changes(&found);
        self.log_kept_files(&found.last_good);
        self.current.last_good = std::mem::take(&mut found.last_good);
        self.subscriptions(&changes.subscriptions)?;
        if !changes.resiliencies.is_empty() {
            self.resiliencies(&changes.resiliencies, found.resiliencies).await;
        }
        self.components(changes.components, stop).await?;
        self.supervisor.resume().await;
        Ok(())
    }

    /// Errors end the process, as in daprd, unless it holds events in memory. In that case the files with errors count
    /// as broken, and if errors remain, nothing changes.
    async fn without_refused(&mut self, found: &Resources) -> Option<Resources> {
        let texts = found.error_texts(reworded);
        if !self.current.holds_events() {
            texts.iter().for_each(|text| self.fatal(text));
            return None;
        }
        for text in &texts {
            if !self.current.errors.contains(text) {
                self.handles.telemetry.emit(ReloadRefused { error: text });
            }
        }
        self.current.errors = texts.into_iter().collect();
        let files = found.errors.iter().map(|error| error.location().file);
        let rest = self.read(files.collect()).await;
        Some(if rest.errors.is_empty() { rest } else { self.unchanged() })
    }

    /// Log which files have become broken, with the resources that stay in force, and which are valid again.
    fn log_kept_files(&self, found: &LastGood) {
        let (before, now) = (self.current.last_good.kept(), found.kept());
        let is_among = |files: &[KeptFile], path: &Path| files.iter().any(|file| file.path == path);
        for file in now.iter().filter(|file| !is_among(&before, &file.path)) {
            let resources = file.resources.join(", ");
            self.handles.telemetry.emit(BrokenFileKept {
                file: &file.path,
                reason: &file.reason,
                resources: &resources,
            });
        }
        for file in before.iter().filter(|file| !is_among(&now, &file.path)) {
            if found.has_file(&file.path) {
                self.handles.telemetry.emit(BrokenFileCorrected { file: &file.path });
            } else {
                self.handles.telemetry.emit(BrokenFileDeleted { file: &file.path });
            }
        }
    }

    /// Log the diagnostics that the reading before did not have.
    fn log_new(&mut self, diagnostics: &[Diagnostic]) {
        let is_new = |diagnostic: &&Diagnostic| !self.current.logged.contains(&*diagnostic.log_text());
        for diagnostic in diagnostics.iter().filter(is_new) {
            diagnostic.report(&self.handles.telemetry);
        }
        self.current.logged = texts(diagnostics);
    }

    fn fatal(&self, error: &dyn std::fmt::Display) {
        for line in StartError::fatal(error).0 {
            self.handles.telemetry.emit(FatalError { message: &line });
        }
    }

    fn subscriptions(&mut self, changes: &Difference<SubscriptionSpec>) -> Result<(), Unusable> {
        if changes.is_empty() {
            return Ok(());
        }
        for (specs, change) in [
            (&changes.deleted, Change::Deleted),
            (&changes.updated, Change::Updated),
            (&changes.created, Change::Created),
        ] {
            for spec in specs {
                self.handles.telemetry.emit(SubscriptionChanged { name: &spec.name, change });
            }
        }
        let declared = changes.applied();
        match self.supervisor.declare(declared.clone()) {
            Ok(()) => self.current.subscriptions = declared,
            Err(error) if self.current.holds_events() => {
                let text = format!(
                    "subscription {} cannot be used, the subscriptions stay as they were: {}",
                    error.name, error.error
                );
                self.handles.telemetry.emit(ReloadRefused { error: &text });
            }
            Err(error) => {
                self.handles.telemetry.emit(SubscriptionRefused { name: &error.name, error: &error.error });
                return Err(Unusable);
            }
        }
        Ok(())
    }

    /// Give all pub/subs the new policies. Circuit breakers start anew.
    async fn resiliencies(&mut self, changes: &Difference<Resiliency>, found: Vec<Resiliency>) {
        for (resources, change) in [
            (&changes.deleted, Change::Deleted),
            (&changes.updated, Change::Updated),
            (&changes.created, Change::Created),
        ] {
            for resource in resources {
                self.handles.telemetry.emit(ResiliencyChanged { name: resource.name(), change });
            }
        }
        let (targets, wrong) = Targets::new(&found, self.handles.telemetry.clone());
        wrong.iter().for_each(|diagnostic| diagnostic.report(&self.handles.telemetry));
        let names = found.iter().map(|resource| resource.name.clone());
        self.view.resiliencies.set(names.collect());
        self.current.resiliencies = found;
        self.supervisor.set_targets(targets.clone());
        for pubsub in self.handles.catalog.all() {
            let policy = targets.policy(&pubsub.name, Direction::Outbound, Stop::new());
            self.handles.catalog.insert(Arc::new(Pubsub::clone(&pubsub).with_policy(policy)));
            self.supervisor.stop_component(&pubsub.name).await;
        }
        self.targets = targets;
    }

    async fn components(&mut self, changes: Difference<Component>, stop: &Stop) -> Result<(), Unusable> {
        for component in &changes.deleted {
            self.handles.telemetry.emit(ComponentClosing { component: &component.log_name() });
            self.remove(component).await;
        }
        let is_refused =
            |component: &Component, refused: &[Component]| refused.iter().any(|known| known.means_the_same(component));
        for component in &changes.updated {
            if is_refused(component, &self.current.refused) {
                continue;
            }
            self.handles.telemetry.emit(ComponentClosing { component: &component.log_name() });
            self.add(component, stop).await?;
            if !is_refused(component, &self.current.refused) {
                self.handles.telemetry.emit(ComponentUpdated { component: &component.log_name() });
            }
        }
        for component in &changes.created {
            if is_refused(component, &self.current.refused) {
                continue;
            }
            self.add(component, stop).await?;
        }
        Ok(())
    }

    /// Remove a component, and close its broker when its last delivery has ended.
    async fn remove(&mut self, component: &Component) {
        let name = &component.name;
        self.unlist(name);
        if let Some(old) = self.handles.catalog.remove(name) {
            self.connecting.end(name).await;
            self.supervisor.stop_component(name).await;
            old.close().await;
        }
    }

    fn unlist(&mut self, name: &str) {
        self.current.components.retain(|known| known.name != name);
        let shown = self.view.components.get();
        let shown = shown.iter().filter(|shown| shown.name != name);
        self.view.components.set(shown.cloned().collect());
    }

    fn list(&mut self, component: &Component, capabilities: &[&'static str]) {
        self.unlist(&component.name);
        self.current.components.push(component.clone());
        let mut shown = self.view.components.get().to_vec();
        shown.push(listed(component, capabilities));
        self.view.components.set(shown);
    }

    /// Add a component, or replace the one of this name. A publish in between finds the one or the other.
    async fn add(&mut self, component: &Component, stop: &Stop) -> Result<(), Unusable> {
        self.handles.telemetry.emit(ComponentAdding { component: &component.log_name() });
        if !component.is_pubsub() {
            self.remove(component).await;
            self.list(component, &[]);
            component.loaded().report(&self.handles.telemetry);
            return Ok(());
        }
        let name = &component.name;
        let old = self.handles.catalog.get(name);
        self.connecting.end(name).await;
        let made = stop.run_until_triggered(self.builder().pubsub(component)).await;
        // The sidecar is stopping.
        let Some(made) = made else { return Ok(()) };
        let (pubsub, is_reached) = match made {
            Ok((pubsub, is_reached)) => (Arc::new(pubsub), is_reached),
            Err(cause) => {
                let (diagnostic, error) = component.failed(cause);
                let is_update_in_memory = old.as_ref().is_some_and(|old| is_embedded(&old.kind));
                if is_update_in_memory || (error.is_some() && self.current.holds_events()) {
                    let error = error.map(|error| error.to_string());
                    self.keep_current(component, error.as_deref(), diagnostic.as_slice());
                    return Ok(());
                }
                diagnostic.iter().for_each(|diagnostic| diagnostic.report(&self.handles.telemetry));
                if let Some(error) = error {
                    self.fatal(&LoadError::from(error));
                    return Err(Unusable);
                }
                self.remove(component).await;
                return Ok(());
            }
        };
        self.list(component, pubsub.capabilities());
        self.handles.catalog.insert(pubsub.clone());
        self.supervisor.stop_component(name).await;
        self.close_replaced(old, &pubsub).await;
        if is_reached {
            component.loaded().report(&self.handles.telemetry);
        } else {
            self.connecting.begin(pubsub);
        }
        Ok(())
    }

    /// Keep the current component, because the end of the process would lose its events in memory.
    fn keep_current(&mut self, component: &Component, error: Option<&str>, diagnostics: &[Diagnostic]) {
        diagnostics.iter().for_each(|diagnostic| diagnostic.report(&self.handles.telemetry));
        let text = format!(
            "component {} cannot be used as it stands in {}, what was loaded before stays in force until it is corrected{}",
            component.log_name(),
            component.location,
            error.map_or(String::new(), |error| format!(": {error}")),
        );
        self.handles.telemetry.emit(ReloadRefused { error: &text });
        self.current.refused.retain(|known| known.name != component.name);
        self.current.refused.push(component.clone());
    }

    async fn close_replaced(&self, old: Option<Arc<Pubsub>>, new: &Pubsub) {
        // In memory both are the same broker, which must stay open.
        let is_same = |old: &Arc<Pubsub>| is_embedded(&old.kind) && is_embedded(&new.kind);
        if let Some(old) = old.filter(|old| !is_same(old)) {
            old.close().await;
        }
    }

    fn builder(&self) -> ComponentBuilder<'_> {
        ComponentBuilder {
            handles: &self.handles,
            environment: &self.environment,
            targets: &self.targets,
            shared_brokers: &self.shared_brokers,
        }
    }
}

/// Begin to watch the folders. `None`: there is nothing to reload.
pub(super) fn watch(settings: &Settings, telemetry: &Telemetry) -> Option<(Watch, Duration)> {
    let period = settings.hot_reload?;
    if settings.resources.is_empty() {
        return None;
    }
    let (watch, problem) = Watch::begin(&settings.resources);
    telemetry.emit(WatchStarted { folders: &settings.resources });
    // A missing folder is reported when it is read.
    if let Some(problem) = problem {
        telemetry.emit(WatchFailed { error: &problem, period: &GoDuration::from(period) });
    }
    Some((watch, period))
}

/// The text of an error at a reload, which differs from the start (tests/spec/resources-cli.md, "10. Hot reload and
/// SIGHUP", item 8).
fn reworded(error: &LoadError) -> String {
    let text = error.to_string();
    let rest = text.strip_prefix("failed to load components: ");
    match (error, rest) {
        (LoadError::Duplicate { .. }, Some(rest)) => {
            format!("failed to load resources from disk: {rest}")
        }
        (LoadError::NotListed { .. }, Some(rest)) => {
            format!("failed to read resource directories: {rest}")
        }
        _ => text,
    }
}

fn texts(diagnostics: &[Diagnostic]) -> HashSet<String> {
    diagnostics.iter().map(|diagnostic| diagnostic.log_text().into_owned()).collect()
}
