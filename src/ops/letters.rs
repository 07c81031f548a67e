//! Dead letters as a person sees them: what a letter says, and its record masked.

pub mod letter;
pub mod mask;
