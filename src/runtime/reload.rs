//! Hot reload: what changes in the resource folders takes effect while the sidecar runs (tests/spec/resources-cli.md,
//! "10. Hot reload and SIGHUP").
//!
//! The folders are read again as a whole and compared with what is loaded. Nothing is taken away because of one look:
//! whoever saves a file may have emptied, removed or doubled it for a moment. While a file is broken, what it held
//! before stays in force (D29).

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::assemble::{Assembly, is_embedded, listed};
use super::contact::Contacts;
use super::{StartError, load};
use crate::api::{LoadedComponent, Snapshot};
use crate::broker::memory::shared::SharedBrokers;
use crate::config::Settings;
use crate::delivery::supervisor::Supervisor;
use crate::diagnostic::Diagnostic;
use crate::duration::GoDuration;
use crate::environment::Environment;
use crate::health::Health;
use crate::pubsub::{Catalog, Pubsub};
use crate::resiliency::Targets;
use crate::resources::difference::{Difference, Resource};
use crate::resources::files::watch::{Occasion, Watch};
use crate::resources::kinds::component::Component;
use crate::resources::kinds::policies::Direction;
use crate::resources::kinds::resiliency::Resiliency;
use crate::resources::kinds::subscription::SubscriptionSpec;
use crate::resources::last_good::{KeptFile, LastGood};
use crate::resources::{LoadError, Resources};
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;
use crate::telemetry::events::lifecycle::FatalError;
use crate::telemetry::events::reload::Change;

/// What seems to be gone, or makes no sense, is looked at again when nothing has happened for so long.
const DOUBT: Duration = Duration::from_millis(250);

/// What is loaded, and everything that has to be told when it changes.
pub(super) struct Reload {
    pub(super) settings: Arc<Settings>,
    pub(super) environment: Environment,
    pub(super) telemetry: Telemetry,
    pub(super) tasks: Tasks,
    pub(super) health: Health,
    pub(super) catalog: Catalog,
    pub(super) targets: Targets,
    pub(super) supervisor: Supervisor,
    pub(super) contacts: Contacts,
    pub(super) shown: Shown,
    pub(super) loaded: Loaded,
    pub(super) hub: SharedBrokers,
}

/// What the metadata API shows.
pub(super) struct Shown {
    pub(super) components: Snapshot<LoadedComponent>,
    pub(super) resiliencies: Snapshot<String>,
}

/// The last reading, as far as it is in use.
pub(super) struct Loaded {
    components: Vec<Component>,
    subscriptions: Vec<SubscriptionSpec>,
    resiliencies: Vec<Resiliency>,
    /// What was said about it: it is not said again.
    said: HashSet<String>,
    /// The errors that it had, in spite of which the sidecar goes on.
    errors: HashSet<String>,
    /// What the files held when they were whole.
    last_good: LastGood,
    /// Components that could not be used in place of what is loaded: they are not tried again until they change.
    refused: Vec<Component>,
}

impl Loaded {
    /// What a sidecar starts with; components that failed (`ignoreErrors`) are not among it, they are tried again.
    pub(super) fn new(resources: Resources, shown: &[LoadedComponent]) -> Self {
        let is_shown = |component: &Component| shown.iter().any(|shown| shown.name == component.name);
        let mut components = resources.components;
        components.retain(is_shown);
        Self {
            components,
            subscriptions: resources.subscriptions,
            resiliencies: resources.resiliencies,
            said: texts(&resources.diagnostics),
            errors: HashSet::new(),
            last_good: resources.last_good,
            refused: Vec::new(),
        }
    }

    /// Would the end of this process lose events that are nowhere else?
    fn holds_events(&self) -> bool {
        self.components.iter().any(|component| is_embedded(&component.kind))
    }
}

/// What is to be done.
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

/// The sidecar cannot go on with these files. It has been logged.
struct Unusable;

impl Reload {
    /// Follow the folders until `stop`; `failed` is ordered if the sidecar cannot go on with what stands in them.
    pub(super) async fn follow(mut self, watch: Watch, period: Duration, stop: Stop, failed: Stop) {
        while let Some(occasion) = stop.run_until_triggered(watch.occasion(period)).await {
            // Away from the workers that carry events. An error comes again with the folder's own reading below.
            let again = watch.clone();
            let _ = tokio::task::spawn_blocking(move || again.renew()).await;
            let Some(found) = stop.run_until_triggered(self.look(&watch)).await else {
                return;
            };
            if !found.errors.is_empty() && occasion == Occasion::Time {
                found.errors.iter().for_each(|error| self.telemetry.not_listed(error));
                continue;
            }
            if self.apply(found, &stop).await.is_err() {
                return failed.trigger();
            }
        }
    }

    /// Read the folders; twice, if the first reading is doubtful.
    async fn look(&self, watch: &Watch) -> Resources {
        let found = self.read(BTreeSet::new()).await;
        let is_kept = |file: &KeptFile| self.loaded.last_good.kept().contains(file);
        let is_broken_anew = !found.last_good.kept().iter().all(is_kept);
        if found.errors.is_empty() && !is_broken_anew && !self.changes(&found).is_loss() {
            return found;
        }
        watch.quiet(DOUBT).await;
        self.read(BTreeSet::new()).await
    }

    /// Read the folders; files in `refused` count as broken.
    async fn read(&self, refused: BTreeSet<PathBuf>) -> Resources {
        let (settings, environment) = (self.settings.clone(), self.environment.clone());
        let last_good = self.loaded.last_good.clone();
        // Away from the workers that carry events: a folder may be on a slow disk.
        let reading = move || load(&settings, &environment, Some((&last_good, &refused)));
        let read = tokio::task::spawn_blocking(reading).await;
        read.unwrap_or_else(|_| self.unchanged())
    }

    /// For a reading that never ended: nothing has changed.
    fn unchanged(&self) -> Resources {
        Resources {
            components: self.loaded.components.clone(),
            subscriptions: self.loaded.subscriptions.clone(),
            resiliencies: self.loaded.resiliencies.clone(),
            last_good: self.loaded.last_good.clone(),
            ..Resources::default()
        }
    }

    fn changes(&self, found: &Resources) -> Changes {
        let loaded = &self.loaded;
        Changes {
            components: Difference::between(&loaded.components, &found.components),
            subscriptions: Difference::between(&loaded.subscriptions, &found.subscriptions),
            resiliencies: Difference::between(&loaded.resiliencies, &found.resiliencies),
        }
    }

    async fn apply(&mut self, mut found: Resources, stop: &Stop) -> Result<(), Unusable> {
        self.say(&found.diagnostics);
        if !found.errors.is_empty() {
            let Some(rest) = self.without_refused(&found).await else {
                return Err(Unusable);
            };
            found = rest;
        } else {
            self.loaded.errors.clear();
        }
        let changes = self.changes(&found);
        self.say_kept(&found.last_good);
        self.loaded.last_good = std::mem::take(&mut found.last_good);
        self.subscriptions(&changes.subscriptions)?;
        if !changes.resiliencies.is_empty() {
            self.resiliencies(&changes.resiliencies, found.resiliencies).await;
        }
        self.components(changes.components, stop).await?;
        self.supervisor.resume().await;
        Ok(())
    }

    /// With errors the process ends, as daprd's does; not so while it holds events in memory: then the files with the errors count as
    /// broken, and if that does not help, nothing changes.
    async fn without_refused(&mut self, found: &Resources) -> Option<Resources> {
        let texts = found.error_texts(reworded);
        if !self.loaded.holds_events() {
            texts.iter().for_each(|text| self.fatal(text));
            return None;
        }
        for text in &texts {
            if !self.loaded.errors.contains(text) {
                self.telemetry.reload_refused(text);
            }
        }
        self.loaded.errors = texts.into_iter().collect();
        let files = found.errors.iter().map(|error| error.location().file);
        let rest = self.read(files.collect()).await;
        Some(if rest.errors.is_empty() { rest } else { self.unchanged() })
    }

    /// Say which files are broken and what stays in force of them, when that begins and when it ends.
    fn say_kept(&self, found: &LastGood) {
        let (before, now) = (self.loaded.last_good.kept(), found.kept());
        let is_among = |files: &[KeptFile], path: &Path| files.iter().any(|file| file.path == path);
        for file in now.iter().filter(|file| !is_among(&before, &file.path)) {
            let resources = file.resources.join(", ");
            self.telemetry.file_kept(&file.path, &file.reason, &resources);
        }
        for file in before.iter().filter(|file| !is_among(&now, &file.path)) {
            if found.has_file(&file.path) {
                self.telemetry.file_good_again(&file.path);
            } else {
                self.telemetry.file_deleted(&file.path);
            }
        }
    }

    /// Say what was not said about the reading before.
    fn say(&mut self, diagnostics: &[Diagnostic]) {
        let is_new = |diagnostic: &&Diagnostic| !self.loaded.said.contains(&*diagnostic.log_text());
        for diagnostic in diagnostics.iter().filter(is_new) {
            diagnostic.report(&self.telemetry);
        }
        self.loaded.said = texts(diagnostics);
    }

    fn fatal(&self, error: &dyn std::fmt::Display) {
        for line in StartError::fatal(error).0 {
            self.telemetry.emit(FatalError { message: &line });
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
                self.telemetry.subscription_changed(&spec.name, change);
            }
        }
        let declared = changes.applied();
        match self.supervisor.declare(declared.clone()) {
            Ok(()) => self.loaded.subscriptions = declared,
            Err(error) if self.loaded.holds_events() => {
                let text = format!(
                    "subscription {} cannot be used, the subscriptions stay as they were: {}",
                    error.name, error.error
                );
                self.telemetry.reload_refused(&text);
            }
            Err(error) => {
                self.telemetry.subscription_refused(&error.name, &error.error);
                return Err(Unusable);
            }
        }
        Ok(())
    }

    /// Give all pub/subs the policies that are there now. Breakers begin anew.
    async fn resiliencies(&mut self, changes: &Difference<Resiliency>, found: Vec<Resiliency>) {
        for (resources, change) in [
            (&changes.deleted, Change::Deleted),
            (&changes.updated, Change::Updated),
            (&changes.created, Change::Created),
        ] {
            for resource in resources {
                self.telemetry.resiliency_changed(resource.name(), change);
            }
        }
        let (targets, wrong) = Targets::new(&found, self.telemetry.clone());
        wrong.iter().for_each(|diagnostic| diagnostic.report(&self.telemetry));
        let names = found.iter().map(|resource| resource.name.clone());
        self.shown.resiliencies.set(names.collect());
        self.loaded.resiliencies = found;
        self.supervisor.set_targets(targets.clone());
        for pubsub in self.catalog.all() {
            let policy = targets.policy(&pubsub.name, Direction::Outbound, Stop::new());
            self.catalog.insert(Arc::new(Pubsub::clone(&pubsub).with_policy(policy)));
            self.supervisor.stop_component(&pubsub.name).await;
        }
        self.targets = targets;
    }

    async fn components(&mut self, changes: Difference<Component>, stop: &Stop) -> Result<(), Unusable> {
        for component in &changes.deleted {
            self.telemetry.component_closing_to_reload(&component.log_name());
            self.forget(component).await;
        }
        let is_refused =
            |component: &Component, refused: &[Component]| refused.iter().any(|known| known.means_the_same(component));
        for component in &changes.updated {
            if is_refused(component, &self.loaded.refused) {
                continue;
            }
            self.telemetry.component_closing_to_reload(&component.log_name());
            self.add(component, stop).await?;
            if !is_refused(component, &self.loaded.refused) {
                self.telemetry.component_updated(&component.log_name());
            }
        }
        for component in &changes.created {
            if is_refused(component, &self.loaded.refused) {
                continue;
            }
            self.add(component, stop).await?;
        }
        Ok(())
    }

    /// Take a component out of everything, and let go of its broker when nothing of it is with the app any more.
    async fn forget(&mut self, component: &Component) {
        let name = &component.name;
        self.unlist(name);
        if let Some(old) = self.catalog.remove(name) {
            self.contacts.end(name).await;
            self.supervisor.stop_component(name).await;
            old.close().await;
        }
    }

    fn unlist(&mut self, name: &str) {
        self.loaded.components.retain(|known| known.name != name);
        let shown = self.shown.components.get();
        let shown = shown.iter().filter(|shown| shown.name != name);
        self.shown.components.set(shown.cloned().collect());
    }

    fn list(&mut self, component: &Component, capabilities: &[&'static str]) {
        self.unlist(&component.name);
        self.loaded.components.push(component.clone());
        let mut shown = self.shown.components.get().to_vec();
        shown.push(listed(component, capabilities));
        self.shown.components.set(shown);
    }

    /// Bring a component in, in place of what had its name: who publishes meanwhile finds the one or the other.
    async fn add(&mut self, component: &Component, stop: &Stop) -> Result<(), Unusable> {
        self.telemetry.component_adding(&component.log_name());
        if !component.is_pubsub() {
            self.forget(component).await;
            self.list(component, &[]);
            component.loaded().report(&self.telemetry);
            return Ok(());
        }
        let name = &component.name;
        let old = self.catalog.get(name);
        self.contacts.end(name).await;
        let made = stop.run_until_triggered(self.assembly().pubsub(component)).await;
        // At the stop nobody needs it any more.
        let Some(made) = made else { return Ok(()) };
        let (pubsub, is_reached) = match made {
            Ok((pubsub, is_reached)) => (Arc::new(pubsub), is_reached),
            Err(cause) => {
                let (diagnostic, error) = component.failed(cause);
                let is_update_in_memory = old.as_ref().is_some_and(|old| is_embedded(&old.kind));
                if is_update_in_memory || (error.is_some() && self.loaded.holds_events()) {
                    let error = error.map(|error| error.to_string());
                    self.refuse(component, error.as_deref(), diagnostic.as_slice());
                    return Ok(());
                }
                diagnostic.iter().for_each(|diagnostic| diagnostic.report(&self.telemetry));
                if let Some(error) = error {
                    self.fatal(&LoadError::from(error));
                    return Err(Unusable);
                }
                self.forget(component).await;
                return Ok(());
            }
        };
        self.list(component, pubsub.capabilities());
        self.catalog.insert(pubsub.clone());
        self.supervisor.stop_component(name).await;
        self.close_replaced(old, &pubsub).await;
        if is_reached {
            component.loaded().report(&self.telemetry);
        } else {
            self.contacts.begin(pubsub);
        }
        Ok(())
    }

    /// Go on with what is loaded, because the end of the process would lose what it holds in memory.
    fn refuse(&mut self, component: &Component, error: Option<&str>, diagnostics: &[Diagnostic]) {
        diagnostics.iter().for_each(|diagnostic| diagnostic.report(&self.telemetry));
        let text = format!(
            "component {} cannot be used as it stands in {}, what was loaded before stays in force until it is corrected{}",
            component.log_name(),
            component.location,
            error.map_or(String::new(), |error| format!(": {error}")),
        );
        self.telemetry.reload_refused(&text);
        self.loaded.refused.retain(|known| known.name != component.name);
        self.loaded.refused.push(component.clone());
    }

    async fn close_replaced(&self, old: Option<Arc<Pubsub>>, new: &Pubsub) {
        // In memory both are the same broker: what is published through the old one in this moment is not lost.
        let is_same = |old: &Arc<Pubsub>| is_embedded(&old.kind) && is_embedded(&new.kind);
        if let Some(old) = old.filter(|old| !is_same(old)) {
            old.close().await;
        }
    }

    fn assembly(&self) -> Assembly<'_> {
        Assembly {
            settings: &self.settings,
            environment: &self.environment,
            telemetry: &self.telemetry,
            tasks: &self.tasks,
            health: &self.health,
            targets: &self.targets,
            hub: &self.hub,
        }
    }
}

/// Begin to watch, before the folders are read for the first time: so no change is missed. `None` if there is nothing to reload.
pub(super) fn watch(settings: &Settings, telemetry: &Telemetry) -> Option<(Watch, Duration)> {
    let period = settings.hot_reload?;
    if settings.resources.is_empty() {
        return None;
    }
    let (watch, problem) = Watch::begin(&settings.resources);
    telemetry.watching(&settings.resources);
    // A folder that is missing is named when it is read.
    if let Some(problem) = problem {
        telemetry.not_watched(&problem, &GoDuration::from(period));
    }
    Some((watch, period))
}

/// An error of the start in the words of a reload (tests/spec/resources-cli.md, "10. Hot reload and SIGHUP", item 8).
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
