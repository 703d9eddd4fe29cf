//! All resources of one app, as one reading of the folders found them.

use crate::diagnostic::Diagnostic;
use crate::resources::kinds::component::Component;
use crate::resources::kinds::policies::Policies;
use crate::resources::kinds::resiliency::Resiliency;
use crate::resources::kinds::subscription::SubscriptionSpec;
use crate::resources::last_good::LastGood;
use crate::resources::load_error::LoadError;

/// Everything that the folders hold for one app.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// Ready for use: secret stores first, then pub/subs, each in the order of (folder, file, document).
    pub components: Vec<Component>,
    /// Declared subscriptions in the same order. One with the name of an earlier one replaces it, at the end of the list.
    pub subscriptions: Vec<SubscriptionSpec>,
    /// Resiliency resources, unmerged.
    pub resiliencies: Vec<Resiliency>,
    /// Names of all components in the files, including those of other apps and those that cannot be used.
    pub component_names: Vec<String>,
    /// Findings for the log and for `check`, in the order of reading.
    pub diagnostics: Vec<Diagnostic>,
    /// Every error that ends the process, not only the first.
    pub errors: Vec<LoadError>,
    /// What the files hold now, for the next reading.
    pub last_good: LastGood,
}

impl Resources {
    /// The built-in policies merged with those of all resiliency resources; later ones win.
    pub fn policies(&self) -> Policies {
        let mut policies = Policies::built_in();
        for resource in &self.resiliencies {
            policies.add(&resource.policies);
        }
        policies
    }

    /// The texts of the errors, each made by `text_of`. All duplicates are one text with a line for each pair, as in
    /// daprd (tests/spec/resources-cli.md, "4.4 Filters (Components)").
    pub fn error_texts(&self, text_of: impl Fn(&LoadError) -> String) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        let mut first_duplicate = None;
        for error in &self.errors {
            match (error, first_duplicate) {
                (LoadError::Duplicate { .. }, Some(index)) => {
                    let joined: &mut String = &mut texts[index];
                    joined.push('\n');
                    joined.push_str(&error.plain());
                    continue;
                }
                (LoadError::Duplicate { .. }, None) => first_duplicate = Some(texts.len()),
                _ => {}
            }
            texts.push(text_of(error));
        }
        texts
    }
}
