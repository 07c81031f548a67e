//! What goes with a commit beside its offset: the state of the versions (V2) and the id of the topic (K8), as words
//! with a space between them.

use crate::version::{Chain, SavedError};

const TOPIC_ID: &str = "topic=";

/// The metadata of a commit: ASCII, and at most [`crate::version::SAVED_BYTES_MAX`] bytes beside the id's 28.
pub fn metadata(chain: Option<Chain>, topic_id: Option<&str>) -> String {
    let topic_id = topic_id.map(|id| format!("{TOPIC_ID}{id}"));
    let words: Vec<String> = chain.map(|chain| chain.save()).into_iter().chain(topic_id).collect();
    words.join(" ")
}

/// The id of the topic that the commit was made in. Commits by other tools, and by brokers without ids, have none.
pub fn topic_id(metadata: &str) -> Option<&str> {
    metadata.split(' ').find_map(|word| word.strip_prefix(TOPIC_ID))
}

/// The state of the versions. A commit by another tool has none, and is refused rather than guessed.
pub fn chain(metadata: &str) -> Result<Chain, SavedError> {
    let words: Vec<&str> = metadata.split(' ').filter(|word| !word.starts_with(TOPIC_ID)).collect();
    Chain::load(&words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_come_back_and_either_may_be_missing() {
        let chain_saved = Chain::above(42);
        for (chain_in, id) in
            [(Some(chain_saved), Some("Ab+/0")), (Some(chain_saved), None), (None, Some("x")), (None, None)]
        {
            let text = metadata(chain_in, id);
            assert!(text.is_ascii());
            assert_eq!(topic_id(&text), id);
            assert_eq!(chain(&text).ok(), chain_in, "{text}");
        }
        insta::assert_snapshot!(metadata(Some(chain_saved), Some("Ab+/0")), @"rowferry:1:last=42 topic=Ab+/0");
    }

    #[test]
    fn what_others_committed_is_refused() {
        assert_eq!(chain(""), Err(SavedError::Missing));
        assert_eq!(chain("topic=x"), Err(SavedError::Missing));
        assert_eq!(chain("theirs topic=x"), Err(SavedError::Foreign));
        assert_eq!(chain("rowferry:1:last=42 theirs"), Err(SavedError::Foreign));
    }
}
