//! Reading of all resource folders for one app (tests/spec/resources-cli.md, "4. Reading resource directories").
//!
//! First `documents` reads every file, then `last_good` completes broken files, then `components` filters and resolves
//! the components.

mod components;
mod documents;
mod request;

use std::collections::BTreeSet;
use std::path::PathBuf;

use self::components::ComponentLoader;
use self::documents::DocumentReader;
pub use self::request::LoadRequest;
use crate::diagnostic::Diagnostic;
use crate::resources::advice;
use crate::resources::kinds::subscription::SubscriptionSpec;
use crate::resources::last_good::{FileVersion, LastGood};
use crate::resources::set::Resources;
use crate::telemetry::log::Level;

impl Resources {
    /// Read the folders. Connects to nothing.
    pub fn load(request: &LoadRequest<'_>) -> Self {
        Self::reload(request, &LastGood::default(), &BTreeSet::new())
    }

    /// Read the folders again. Of a broken file, the resources of the reading before stay in force; so do those of the
    /// files in `refused`, which can be read but not used.
    pub fn reload(request: &LoadRequest<'_>, last_good: &LastGood, refused: &BTreeSet<PathBuf>) -> Self {
        let mut reader = DocumentReader::new(request, last_good, refused);
        request.folders.iter().for_each(|folder| reader.folder(folder));
        request.files.iter().for_each(|file| reader.file(file));
        let DocumentReader { mut files, diagnostics, errors, .. } = reader;
        last_good.complete(&mut files, |manifest| {
            !request.is_of_other_namespace(&manifest.namespace) && request.is_in_scope(&manifest.scopes)
        });
        let mut resources = Self { diagnostics, errors, ..Self::default() };
        files.iter().for_each(|file| resources.add_policies_and_subscriptions(file));
        // Components kept from earlier versions come last: they are no duplicates of what the files hold now.
        let now = files.iter().flat_map(|file| file.components().0);
        let kept = files.iter().flat_map(|file| file.components().1);
        let manifests: Vec<_> = now.chain(kept).cloned().collect();
        resources.component_names = manifests.iter().map(|manifest| manifest.name.clone()).collect();
        let mut loader = ComponentLoader::new(request, last_good, &mut resources);
        loader.load(manifests);
        let stores = loader.into_stores();
        resources.last_good = LastGood::of(&files, stores);
        resources
    }

    /// Add the advice that needs all resources.
    pub fn add_advice(&mut self) {
        let advice = advice::of(self);
        self.diagnostics.extend(advice);
    }

    fn add_policies_and_subscriptions(&mut self, file: &FileVersion) {
        self.resiliencies.extend(file.resiliencies.iter().cloned());
        for spec in &file.subscriptions {
            self.add_subscription(spec.clone());
        }
    }

    /// Add a subscription; it replaces an earlier one of the same name.
    fn add_subscription(&mut self, spec: SubscriptionSpec) {
        let found = format!("Found Subscription: {}", spec.name);
        self.diagnostics.push(Diagnostic::info(Level::Info, found));
        let same = self.subscriptions.iter().position(|known| known.name == spec.name && !spec.name.is_empty());
        if let Some(earlier) = same.map(|index| self.subscriptions.remove(index)) {
            let message = format!("Subscription {} replaces an earlier one of the same name", spec.name);
            let earlier = earlier.location.unwrap_or_default();
            let diagnostic = Diagnostic::warning(spec.location.clone().unwrap_or_default(), message)
                .with_help(format!("give it another name, the earlier one stands at {earlier}"))
                .at_level(Level::Debug);
            self.diagnostics.push(diagnostic);
        }
        self.subscriptions.push(spec);
    }
}

#[cfg(test)]
mod tests;
