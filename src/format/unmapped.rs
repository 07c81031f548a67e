//! Columns of a row that no route wants: passed over, named once, or the end of the partition's way.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::row::Unmapped;

/// So many names are remembered, and no more are named.
const NAMES_MAX: usize = 100;
/// Longer than a column's name of any database that Debezium reads.
const NAME_CHARS_MAX: usize = 128;

/// What is known of the unwanted columns of a topic.
#[derive(Debug, Clone)]
pub struct UnmappedColumns {
    policy: Unmapped,
    named: BTreeSet<String>,
    notices: Vec<String>,
}

/// The unwanted columns of one record that matter. A delete or a signal makes them nothing.
pub struct Unwanted<'a> {
    columns: &'a UnmappedColumns,
    names: RefCell<Vec<String>>,
}

impl<'a> Unwanted<'a> {
    pub fn of(columns: &'a UnmappedColumns) -> Unwanted<'a> {
        Unwanted { columns, names: RefCell::default() }
    }

    /// A column of the row that no field wants.
    pub fn meet(&self, name: &str) {
        if !self.columns.is_news(name) {
            return;
        }
        let mut names = self.names.borrow_mut();
        if names.len() < NAMES_MAX {
            names.push(name.chars().take(NAME_CHARS_MAX).collect());
        }
    }

    pub fn into_names(self) -> Vec<String> {
        self.names.into_inner()
    }
}

impl UnmappedColumns {
    pub fn new(policy: &Unmapped) -> UnmappedColumns {
        UnmappedColumns { policy: policy.clone(), named: BTreeSet::new(), notices: Vec::new() }
    }

    fn is_news(&self, name: &str) -> bool {
        match &self.policy {
            Unmapped::Ignore => false,
            Unmapped::Stop { except } => !except.iter().any(|known| known == name),
            Unmapped::Warn { except } => {
                self.named.len() < NAMES_MAX && !except.iter().any(|known| known == name) && !self.named.contains(name)
            }
        }
    }

    /// Takes the unwanted columns of a record that is a row. Returns why the partition stops in front of it.
    pub fn settle(&mut self, topic: &str, names: Vec<String>) -> Option<String> {
        const MEND: &str = "map it, or add it to the route's `ignore` list, or set unmapped = \"ignore\"";
        let stops = matches!(self.policy, Unmapped::Stop { .. });
        for name in names {
            let text = format!("column \"{name}\" of {topic} is wanted by no route: {MEND}");
            if stops {
                return Some(text);
            }
            if self.named.len() < NAMES_MAX && self.named.insert(name) {
                self.notices.push(text);
                if self.named.len() == NAMES_MAX {
                    let text = format!("{topic} has {NAMES_MAX} columns that no route wants: no more are named");
                    self.notices.push(text);
                }
            }
        }
        None
    }

    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }
}
